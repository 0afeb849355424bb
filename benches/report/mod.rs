//! The report: figures, their tables, the goals, the plots, and the page that shows them.
//!
//! Pure but for the files that it writes. Knows no server and no client. The tests of the benchmark
//! (`tests/benchmark.rs`) include this module.
//!
//! # Modules, from the bottom up
//!
//! A module imports only from rows above its own in this table.
//!
//! | module | owns |
//! |---|---|
//! | `names`, `stats` | names of subjects and quantities; quartiles and ratios |
//! | `results` | figures with all samples, and their JSON |
//! | `goals` | the goals, and whether the figures reach them |
//! | `table`, `chart` | figures as text; a drawing of bars or lines |
//! | `plots` | the plots of each part |
//! | `page` | the generated block of docs/performance.md |

mod chart;
mod goals;
pub mod names;
mod page;
mod plots;
mod results;
mod stats;
mod table;

pub use self::page::{block, replace_block};
pub use self::plots::draw_all;
pub use self::results::{Figure, Machine, Measured, Results};
pub use self::stats::Quartiles;
pub use self::table::{goals_table, part_table};
