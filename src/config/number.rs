//! Whole numbers in settings. Used by both programs' settings.

use std::ops::RangeInclusive;

use crate::bet::decimal;

/// Any `u32`, for error messages.
pub(super) const ANY: &str = "a number from 0 to 4294967295";

/// A parser for whole numbers within `range`, written in digits only.
pub(super) fn within<T: TryFrom<u32> + PartialOrd>(range: RangeInclusive<T>) -> impl Fn(&str) -> Option<T> {
    move |text| {
        let number = T::try_from(decimal(text.as_bytes())?).ok()?;
        range.contains(&number).then_some(number)
    }
}
