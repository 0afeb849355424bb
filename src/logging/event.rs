//! The macro that logs one event. Used by every module that logs.

/// Logs one event: `event!(Info, "sorteo", success, agencias = 5)` logs
/// `action: sorteo | result: success | agencias: 5`. The result is `success`, `fail` or `in_progress`. Every value is
/// escaped and shortened by [`value`](crate::logging::value).
#[macro_export]
macro_rules! event {
    ($level:ident, $action:literal, $result:ident $(, $key:ident = $value:expr)* $(,)?) => {{
        let (target, level) = $crate::logging::Level::$level.for_log();
        ::log::log!(
            target: target,
            level,
            concat!("action: ", $action, " | result: ", stringify!($result) $(, " | ", stringify!($key), ": {}")*)
            $(, $crate::logging::value(&$value))*
        );
    }};
}
