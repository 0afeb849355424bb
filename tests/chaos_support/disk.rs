//! A disk whose power can be cut: ext4 in a file, mounted by loop, and another boot after each cut.
//!
//! Everything is mounted in this process's own mount namespace, so that nothing stays when it ends, however it does. The
//! cut is what xfstests' `godown` does: the file system stops at once, and not even its log is written out. Mounting it
//! again replays the journal. No safe Rust calls that ioctl: a Python process does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::stat;

use super::plan::Kind;
use super::processes::{Outcome, await_some, signal};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Room for a journal and far more bets than a run has.
const SIZE: &str = "32M";
/// Bytes that a slow disk may have yet to write.
const UNWRITTEN: &str = "16384";
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, for each line read.
const CUTTER: &str = "
import fcntl, os, struct, sys
print('ready', flush=True)
for line in sys.stdin:
    fd = os.open(line.strip(), os.O_RDONLY)
    fcntl.ioctl(fd, 0x8004587D, struct.pack('I', 2))
    os.close(fd)
    print('cut', flush=True)
";

pub struct Disk {
    kind: Kind,
    image: PathBuf,
    mounted_at: PathBuf,
    /// Stands in for the kernel's boot id.
    boot_id: PathBuf,
    cutter: Cutter,
}

impl Disk {
    /// A new one on `dir`/store. This process must have a mount namespace of its own.
    pub fn new(dir: &Path, kind: Kind) -> Outcome<Self> {
        let (image, mounted_at, boot_id) = (dir.join("disk"), dir.join("store"), dir.join("boot_id"));
        fs::create_dir_all(&mounted_at).unwrap();
        run("truncate", &["-s", SIZE, text(&image)])?;
        let block = if kind == Kind::Lazy { "4096" } else { "1024" };
        run("mkfs.ext4", &["-q", "-F", "-b", block, text(&image)])?;
        let disk = Self { kind, image, mounted_at, boot_id, cutter: Cutter::start()? };
        disk.boot()?;
        run("mount", &["--bind", text(&disk.boot_id), BOOT_ID])?;
        Ok(disk)
    }

    /// Writes one file out, as the kernel may at any time.
    pub fn write_back(&self, name: &str) {
        // The disk may be full of other work, or the file not there yet.
        let _ = fs::File::open(self.mounted_at.join(name)).and_then(|file| file.sync_data());
    }

    /// From here on nothing gets onto the disk. Whoever has files on it must go before [`Disk::boot_again`].
    pub fn cut(&mut self) -> Outcome<()> {
        self.cutter.cut(&self.mounted_at)
    }

    pub fn boot_again(&self) -> Outcome<()> {
        self.throttle(Pace::Full);
        await_some("the disk can be unmounted", || Ok(run("umount", &[text(&self.mounted_at)]).ok()))?;
        self.boot()
    }

    fn boot(&self) -> Outcome<()> {
        fs::write(&self.boot_id, format!("{}\n", uuid())).unwrap();
        let options = if self.kind == Kind::Lazy { "loop" } else { "loop,nodelalloc" };
        // The loop device may just be taken by somebody else.
        let mount = || run("mount", &["-o", options, text(&self.image), text(&self.mounted_at)]);
        (0..5).map(|_| mount()).find(Result::is_ok).unwrap_or_else(mount)?;
        if self.kind == Kind::Slow {
            self.throttle(Pace::Crawl);
        }
        Ok(())
    }

    /// A write to a device that may have few unwritten pages sleeps between two pages, and there a kill tears it. Where
    /// the kernel does not allow it the disk is merely faster.
    fn throttle(&self, pace: Pace) {
        let Ok(found) = fs::metadata(&self.mounted_at) else { return };
        let device = format!("{}:{}", stat::major(found.dev()), stat::minor(found.dev()));
        let set = |key: &str, value: &str| fs::write(Path::new("/sys/class/bdi").join(&device).join(key), value);
        // These stay with the loop device when its file is gone.
        let _ = match pace {
            Pace::Crawl => set("strict_limit", "1").and_then(|()| set("max_bytes", UNWRITTEN)),
            Pace::Full => set("strict_limit", "0").and_then(|()| set("max_ratio", "100")),
        };
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        signal(self.cutter.pid, Signal::SIGKILL);
        self.throttle(Pace::Full);
        let _ = run("umount", &[BOOT_ID]);
        let _ = run("umount", &[text(&self.mounted_at)]);
    }
}

/// How fast the disk may be written.
#[derive(Clone, Copy)]
enum Pace {
    Crawl,
    Full,
}

struct Cutter {
    pid: i32,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Cutter {
    fn start() -> Outcome<Self> {
        let mut python = Command::new("python3");
        let python = python.args(["-c", CUTTER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child: Child = python.spawn().map_err(|e| format!("python3: {e}"))?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut cutter = Self { pid: child.id().try_into().unwrap(), input, output: BufReader::new(output) };
        cutter.answer("ready")?;
        Ok(cutter)
    }

    fn cut(&mut self, path: &Path) -> Outcome<()> {
        writeln!(self.input, "{}", path.display()).map_err(|e| format!("the power cut's process: {e}"))?;
        self.answer("cut")
    }

    fn answer(&mut self, expected: &str) -> Outcome<()> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(_) if line.trim() == expected => Ok(()),
            other => Err(format!("no power cut, python3 says {line:?}: {other:?}")),
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Outcome<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments:?}: {}", said.trim())) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn uuid() -> String {
    let part = |digits: usize| format!("{:0digits$x}", fastrand::u64(..1 << (4 * digits)));
    [8, 4, 4, 4, 12].map(part).join("-")
}
