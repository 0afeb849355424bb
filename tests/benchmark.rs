//! The parts of the benchmark that compute: quartiles, ratios, goals, JSON, plots, the page, its own messages, and the order
//! of the relay.
//!
//! The benchmark has no test harness, so its modules are included here.

#![allow(clippy::unwrap_used, reason = "unwrap fails a test")]

#[path = "../benches/relay.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod relay;
#[path = "../benches/report/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the benchmark uses the rest")]
mod report;
#[path = "../benches/traffic/wire.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod wire;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use report::{Figure, Measured, Quartiles, Results, names};

fn figure(subject: &str, quantity: &str, samples: &[f64]) -> Figure {
    Figure {
        group: "five files".to_owned(),
        subject: subject.to_owned(),
        quantity: quantity.to_owned(),
        unit: "1000/s".to_owned(),
        base: Some(names::FLOCK.to_owned()),
        point: Some((subject.to_owned(), 99.0)),
        samples: samples.to_vec(),
    }
}

/// The results of one part.
fn results(part: &str, figures: Vec<Figure>) -> Results {
    let measured = Measured { figures, skipped: vec!["PostgreSQL is not installed".to_owned()], ..Measured::default() };
    Results { parts: [(part.to_owned(), measured)].into(), ..Results::default() }
}

/// A floor and a server whose ratios are 0.8, 1.0 and 0.9.
fn ingest() -> Results {
    let stored = |subject, samples: [f64; 3]| figure(subject, names::STORED, &samples);
    results("ingest", vec![stored(names::FLOCK, [100.0, 200.0, 400.0]), stored(names::SERVER, [80.0, 200.0, 360.0])])
}

/// The line of `text` that contains all `words`.
fn line<'a>(text: &'a str, words: &[&str]) -> &'a str {
    text.lines()
        .find(|line| words.iter().all(|word| line.contains(word)))
        .unwrap_or_else(|| panic!("{words:?}\n{text}"))
}

mod statistics {
    use super::*;

    #[test]
    fn quartiles_lie_between_neighbours() {
        let quartiles = |samples: &[f64]| Quartiles::of(samples).map(|q| [q.low, q.median, q.high]);
        assert_eq!(quartiles(&[]), None);
        assert_eq!(quartiles(&[7.0]), Some([7.0; 3]));
        assert_eq!(quartiles(&[3.0, 1.0]), Some([1.5, 2.0, 2.5]));
        assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some([2.0, 3.0, 4.0]));
    }

    /// The ratio of the medians would be 1.0.
    #[test]
    fn ratios_compare_samples_of_the_same_round() {
        let results = ingest();
        let part = &results.parts["ingest"];
        let ratio = part.figures[1].ratio_to(&part.figures[0]).unwrap();
        assert_eq!([ratio.low, ratio.median, ratio.high].map(|r| (r * 100.0).round()), [85.0, 90.0, 95.0]);
    }
}

mod reports {
    use super::*;

    #[test]
    fn results_survive_json() {
        let results = ingest();
        let json = results.to_json().unwrap();
        assert_eq!(Results::from_json(&json).unwrap(), results);
        assert!(json.contains("\"samples\""));
        assert!(Results::from_json("{}").is_err() && Results::from_json(&json[..json.len() / 2]).is_err());
    }

    #[test]
    fn samples_keep_six_digits() {
        let rounded = figure("any", names::STORED, &[1_234_567.89, 0.000_123_456_789, 0.0, -2.5]).rounded();
        assert_eq!(rounded.samples, [1_234_570.0, 0.000_123_457, 0.0, -2.5]);
    }

    #[test]
    fn table_has_median_quartiles_ratio_and_reasons() {
        let results = ingest();
        let table = report::part_table("ingest", &results.parts["ingest"]);
        let server = line(&table, &[names::SERVER]);
        assert!(server.contains(" 200  140 – 280") && server.contains("0.90  0.85 – 0.95"), "{server}");
        assert!(!line(&table, &[names::FLOCK]).contains("1.00"));
        assert_eq!(line(&table, &["SKIPPED"]), "ingest: SKIPPED: PostgreSQL is not installed");
    }

    #[test]
    fn goal_is_reached_missed_or_not_measured() {
        let goal = "server under the minimal client";
        let mut results = ingest();
        assert!(line(&report::goals_table(&results), &[goal]).contains("yes  0.90"));
        results.parts.get_mut("ingest").unwrap().figures[1].samples[2] = 280.0;
        assert!(line(&report::goals_table(&results), &[goal]).contains("NO   0.80"));
        results.parts.clear();
        assert!(line(&report::goals_table(&results), &[goal]).ends_with("not measured"));
    }

    /// A larger group follows a smaller one.
    #[test]
    fn goal_uses_the_last_group() {
        let mut results = ingest();
        let part = results.parts.get_mut("ingest").unwrap();
        let larger = part.figures.clone().into_iter().map(|figure| Figure {
            group: "five files × 20".to_owned(),
            samples: if figure.subject == names::FLOCK { vec![100.0; 3] } else { vec![95.0; 3] },
            ..figure
        });
        part.figures.extend(larger.collect::<Vec<_>>());
        assert!(line(&report::goals_table(&results), &["minimal client / flock"]).contains("yes  0.95 (0.95 – 0.95)"));
    }

    #[test]
    fn block_replaces_only_what_is_between_its_marks() {
        let page = "head\n<!-- figures: generated by `make bench` -->\nold\n<!-- end of the figures -->\ntail\n";
        let block = report::block(&ingest());
        let replaced = report::replace_block(page, &block).unwrap();
        assert!(replaced.starts_with("head\n") && replaced.ends_with("\ntail\n") && !replaced.contains("old"));
        assert!(line(&replaced, &["| server under the minimal client"]).ends_with("| 0.90 (0.85 – 0.95) | yes |"));
        assert_eq!(report::replace_block(&replaced, &block).unwrap(), replaced);
        assert_eq!(report::replace_block("no marks", &block), None);
    }

    /// `make bench BENCH_ARGS='--render --save'` writes the block again.
    #[test]
    fn page_shows_the_saved_results() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| fs::read_to_string(root.join("docs").join(file)).unwrap();
        let results = Results::from_json(&read("benchmarks/results.json")).unwrap();
        let page = read("performance.md");
        assert_eq!(report::replace_block(&page, &report::block(&results)).unwrap(), page);
        for (name, _) in report::draw_all(&results).unwrap() {
            assert!(page.contains(&format!("(benchmarks/{name}.svg)")), "the page does not show {name}.svg");
        }
    }
}

mod plots {
    use super::*;

    fn plot(results: &Results, name: &str) -> String {
        let plots = report::draw_all(results).unwrap();
        assert_eq!(plots.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [name]);
        plots[0].1.clone()
    }

    #[test]
    fn bars_have_title_axis_and_a_label_each() {
        let svg = plot(&ingest(), "ingest");
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        for text in ["<title>five files</title>", names::FLOCK, names::SERVER, "bets a second", "0.90"] {
            assert!(svg.contains(text), "{text} is missing:\n{svg}");
        }
    }

    #[test]
    fn lines_have_axes_and_a_legend() {
        let at = |subject, x, samples: [f64; 2]| Figure {
            point: Some((subject, x)),
            ..figure("any", names::STORED, &samples)
        };
        let server = || "server".to_owned();
        let results = results("batch", vec![at(server(), 1.0, [10.0, 20.0]), at(server(), 255.0, [30.0, 60.0])]);
        let svg = plot(&results, "batch");
        for text in ["most bets in a batch", "1000 bets a second", "255", "server"] {
            assert!(svg.contains(text), "{text} is missing");
        }
    }

    #[test]
    fn part_without_figures_has_no_plot() {
        assert!(report::draw_all(&results("ingest", Vec::new())).unwrap().is_empty());
        assert!(report::draw_all(&Results::default()).unwrap().is_empty());
    }
}

mod messages {
    use super::*;
    use wire::{Bet, Framing};

    const LORCA: Bet<'static> =
        Bet { names: ["Santiago Lionel", "Lorca"], document: 30_904_465, birthdate: "1999-03-17", number: 7574 };

    /// The dump of a message on the page of the protocol, without its comments.
    fn dump(name: &str) -> Vec<u8> {
        let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protocol.md")).unwrap();
        let (_, rest) = page.split_once(&format!("<!-- hex: {name} -->\n```text\n")).unwrap();
        let bytes = rest.lines().take_while(|line| *line != "```").flat_map(|line| {
            let columns = line[6..line.len().min(6 + 3 * 8)].split(' ').map_while(|byte| match byte.len() {
                2 => u8::from_str_radix(byte, 16).ok(),
                _ => None,
            });
            columns.collect::<Vec<_>>()
        });
        bytes.collect()
    }

    #[test]
    fn messages_are_those_of_the_protocol_page() {
        let nunez = Bet { names: ["Zoë", "Núñez"], document: 0, birthdate: "2000-02-29", number: 1 };
        let batch = wire::batch(1, &[LORCA.encode(), nunez.encode()]);
        assert_eq!(batch.bytes(Framing::Plain), dump("1 ENVIO_BATCH"));
        assert_eq!(wire::end(1).bytes(Framing::Plain), dump("1 ENVIO_BATCH, the end"));
        assert_eq!(wire::winners_query(1).bytes(Framing::Plain), dump("3 SOLICITUD_GANADORES"));
        assert_eq!(wire::tally_query(1).bytes(Framing::Plain), dump("6 CONSULTA_RECIBIDAS"));
        assert_eq!(wire::end(1).bytes(Framing::Prefixed)[..5], [0, 0, 0, 6, 1]);
    }

    #[test]
    fn batches_keep_both_limits_and_lose_no_bet() {
        let bets = vec![LORCA.encode(); 1000];
        for most in [1, 99, 255] {
            let batches = wire::batches(1, &bets, most);
            let messages: Vec<&[u8]> = batches.iter().map(|batch| batch.bytes(Framing::Plain)).collect();
            assert_eq!(messages.iter().map(|message| usize::from(message[5])).sum::<usize>(), bets.len());
            assert!(messages.iter().all(|message| message[5] <= most && message.len() <= 8000));
        }
        assert!(wire::batches(1, &[], 99).is_empty());
    }

    #[test]
    fn row_is_the_one_that_python_writes() {
        assert_eq!(LORCA.row(7), "7,Santiago Lionel,Lorca,30904465,1999-03-17,7574\r\n");
    }

    #[test]
    fn made_up_batch_has_one_winner() {
        let winner = wire::WINNING_NUMBER.to_be_bytes();
        assert_eq!(wire::made_up_bets(255).iter().filter(|bet| bet.ends_with(&winner)).count(), 1);
        assert!((0..100_000).all(|n| wire::made_up(n).number < wire::WINNING_NUMBER));
    }
}

mod distance {
    use super::*;

    /// Returns the bytes in small pieces, of lengths that differ.
    struct Pieces {
        bytes: Vec<u8>,
        at: usize,
    }

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = (self.at % 97 + 1).min(self.bytes.len() - self.at).min(buffer.len());
            buffer[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
            self.at += len;
            Ok(len)
        }
    }

    #[test]
    fn relay_keeps_the_order_of_all_bytes() {
        let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
        let mut arrived = Vec::new();
        relay::carry(Pieces { bytes: bytes.clone(), at: 0 }, &mut arrived, Duration::from_millis(1)).unwrap();
        assert!(arrived == bytes);
    }

    #[test]
    fn relay_never_delivers_early() {
        let (delay, start) = (Duration::from_millis(20), Instant::now());
        relay::carry(&b"a byte"[..], &mut io::sink(), delay).unwrap();
        assert!(start.elapsed() >= delay);
    }

    /// Counts the bytes that were read.
    struct Counted(Arc<AtomicUsize>);

    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.fetch_add(buffer.len(), Ordering::SeqCst);
            Ok(buffer.len())
        }
    }

    /// The reader never ends, and the first write waits until the relay has stopped reading.
    #[test]
    fn relay_holds_a_bounded_number_of_bytes() {
        let read = Arc::new(AtomicUsize::new(0));
        let mut most = 0;
        let writer = Fails(|| {
            while read.load(Ordering::SeqCst) != most {
                most = read.load(Ordering::SeqCst);
                thread::sleep(Duration::from_millis(50));
            }
        });
        assert!(relay::carry(Counted(Arc::clone(&read)), writer, Duration::ZERO).is_err());
        assert!(most <= 2_000_000, "{most} bytes");
    }

    /// Fails after the closure has returned.
    struct Fails<F: FnMut()>(F);

    impl<F: FnMut()> Write for Fails<F> {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            (self.0)();
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn relay_ends_when_its_writer_fails() {
        // A slice of no bytes takes no byte, and the reader never ends.
        let mut nothing = [0_u8; 0];
        assert!(relay::carry(io::repeat(7), &mut nothing[..], Duration::ZERO).is_err());
    }
}
