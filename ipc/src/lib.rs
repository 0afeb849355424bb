//! Mechanism for a server that forks one process per connection: everything that touches fork, socketpairs, signals,
//! readiness and file locks, and the only `unsafe` of the workspace (one block, the fork itself).
//!
//! ```text
//!   parent ── process::spawn(luggage, run) ──▶ child       the child owns its luggage and nothing else
//!     │                                          │
//!     ├── link::Link<Order, Report> ◀──────────▶ link::Link<Report, Order>     one enum a direction
//!     ├── signals::SignalSource  (SIGTERM, SIGCHLD)          signals::SignalSource (fresh, its own)
//!     ├── events::Poller         (epoll: O(ready))           events::wait (poll: three descriptors)
//!     └── process::reap                                      lock::exclusive (flock on its own open file)
//! ```
//!
//! Used by the `loteria` crate alone; it must not know what a bet, an agency or a draw is. Each classic trap of forking
//! servers is named where it is avoided, and is sprung on purpose in `tests/processes.rs`.

pub mod events;
pub mod link;
pub mod lock;
pub mod process;
pub mod signals;
