//! Small disks that become full, fail or lose power, and the boot after that.
//!
//! Everything is mounted in the mount namespace of the caller, which must be its own, so that nothing remains when it
//! ends.
//!
//! A power cut is what xfstests' `godown` does: the file system stops at once, and not even its log is written. The
//! next mount replays the journal. No safe Rust function makes that ioctl(2), so a Python process makes it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::stat;
use tempfile::TempDir;

use super::{path, poll_until, run_program};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const CUT_POWER: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";
/// Attempts at a mount: another process may take the loop device that mount(8) has found.
const MOUNTS: usize = 5;
/// How long an unmount is tried again while processes that die still use the disk.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(60);
const KB: usize = 1024;
/// Room for a journal and far more bets than a run of `tests/chaos` has.
const LARGE: u64 = 32 << 20;
/// Bytes that a slow disk may have yet to write.
const UNWRITTEN: &str = "16384";

/// Why this machine cannot do something.
pub type Outcome<T = ()> = Result<T, String>;

/// The kind of a disk, and its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A tmpfs of 4 MB, to be filled.
    Tmpfs,
    /// An ext4 of 6 MB in an image on a tmpfs of 8 MB, to be filled or broken. Nothing reaches the image merely because
    /// time passes.
    SmallExt4,
    /// An ext4 of 32 MB that loses as much as it may at a power cut.
    LazyExt4,
    /// An ext4 of 32 MB that is written slowly, in many steps: a kill tears more.
    SlowExt4,
}

/// A mounted file system. Dropping it unmounts it, so make it before the servers that use it.
pub struct Disk {
    medium: Medium,
    dir: PathBuf,
    /// `dir`, if it is removed together with the disk.
    temporary: Option<TempDir>,
}

impl Disk {
    /// A disk in a temporary directory.
    pub fn new(medium: Medium) -> Outcome<Self> {
        let disk = Self::unmade(medium);
        disk.make()?;
        Ok(disk)
    }

    /// A disk mounted on `dir`/store.
    pub fn at(dir: &Path, medium: Medium) -> Outcome<Self> {
        let disk = Self { medium, dir: dir.to_owned(), temporary: None };
        disk.make_directories();
        disk.make()?;
        Ok(disk)
    }

    fn unmade(medium: Medium) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let disk = Self { medium, dir: temporary.path().to_owned(), temporary: Some(temporary) };
        disk.make_directories();
        disk
    }

    fn make_directories(&self) {
        [self.images(), self.store()].iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    }

    fn make(&self) -> Outcome {
        match self.medium {
            Medium::Tmpfs => mount_tmpfs("4m", &self.store()),
            // No blocks reserved for root, or the disk of a server that is root would never be full. All metadata is
            // written now, so that it has its room in the image.
            Medium::SmallExt4 => {
                mount_tmpfs("8m", &self.images())?;
                let options = ["-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"];
                self.make_ext4(6 << 20, &options)
            }
            Medium::LazyExt4 => self.make_ext4(LARGE, &["-b", "4096"]),
            Medium::SlowExt4 => self.make_ext4(LARGE, &["-b", "1024"]),
        }
    }

    fn make_ext4(&self, size: u64, options: &[&str]) -> Outcome {
        File::create(self.image()).and_then(|image| image.set_len(size)).map_err(|e| e.to_string())?;
        run_program("mkfs.ext4", &[&["-q", "-F"], options, &[path(&self.image())]].concat())?;
        self.mount()
    }

    // ---- its files ----

    /// The directory of a server's files, where the disk is mounted.
    pub fn store(&self) -> PathBuf {
        self.dir.join("store")
    }

    pub fn bets(&self) -> PathBuf {
        self.store().join("bets.csv")
    }

    fn images(&self) -> PathBuf {
        self.dir.join("images")
    }

    fn image(&self) -> PathBuf {
        self.images().join("ext4")
    }

    // ---- its room ----

    /// Takes all room that is left.
    pub fn fill(&self) {
        hog(&self.store());
    }

    /// Gives that room back.
    pub fn make_room(&self) {
        fs::remove_file(self.store().join("hog")).unwrap();
        File::open(self.store()).unwrap().sync_all().unwrap();
    }

    /// Fills the file system that holds the image: the ext4 accepts data and then cannot write it.
    pub fn fill_below(&self) {
        hog(&self.images());
    }

    pub fn make_room_below(&self) {
        fs::remove_file(self.images().join("hog")).unwrap();
    }

    // ---- its power ----

    /// From now on nothing reaches the disk. Every process that has files on it must end before [`Disk::mount_again`].
    pub fn cut_power(&self) -> Outcome {
        run_program("python3", &["-c", CUT_POWER, path(&self.store())])
    }

    /// Writes one file to the disk, as the kernel may at any time.
    pub fn write_back(&self, name: &str) {
        // The disk may be full of other work, or the file may not exist yet.
        let _ = File::open(self.store().join(name)).and_then(|file| file.sync_data());
    }

    /// Unmounts the ext4 and mounts it again, as the next boot does: data that had not reached the image is gone.
    pub fn mount_again(&self) -> Outcome {
        self.throttle(Pace::Full);
        let unmount = || run_program("umount", &[self.store()]);
        poll_until(UNMOUNT_PATIENCE, || unmount().ok()).map_or_else(unmount, Ok)?;
        self.mount()
    }

    fn mount(&self) -> Outcome {
        let options = match self.medium {
            Medium::SmallExt4 => "loop,commit=300",
            Medium::SlowExt4 => "loop,nodelalloc",
            Medium::Tmpfs | Medium::LazyExt4 => "loop",
        };
        let (image, store) = (self.image(), self.store());
        let words = ["-t", "ext4", "-o", options, path(&image), path(&store)];
        let mount = || run_program("mount", &words);
        (1..MOUNTS).map(|_| mount()).find(Result::is_ok).unwrap_or_else(mount)?;
        if self.medium == Medium::SlowExt4 {
            self.throttle(Pace::Crawl);
        }
        Ok(())
    }

    /// From now on the kernel has another boot id, for this mount namespace.
    pub fn another_boot(&self) -> Outcome {
        let id = self.dir.join("boot_id");
        // Removes the previous mount, if any. Trap: nothing can be mounted over a file that is deleted.
        let _ = run_program("umount", &[BOOT_ID]);
        fs::write(&id, format!("{}\n", uuid())).map_err(|e| e.to_string())?;
        run_program("mount", &["--bind", path(&id), BOOT_ID])
    }

    /// Another disk with the present content of this one's image.
    pub fn copy(&self) -> Outcome<Self> {
        let copy = Self::unmade(self.medium);
        mount_tmpfs("8m", &copy.images())?;
        fs::copy(self.image(), copy.image()).map_err(|e| e.to_string())?;
        copy.mount()?;
        Ok(copy)
    }

    /// A write to a device that may have few unwritten pages sleeps between two pages, and there a kill tears it. If
    /// the kernel does not allow this setting, the disk is merely faster.
    fn throttle(&self, pace: Pace) {
        if self.medium != Medium::SlowExt4 {
            return;
        }
        let Ok(found) = fs::metadata(self.store()) else { return };
        let device = format!("{}:{}", stat::major(found.dev()), stat::minor(found.dev()));
        let set = |key: &str, value: &str| fs::write(Path::new("/sys/class/bdi").join(&device).join(key), value);
        // The settings stay with the loop device after its file is gone.
        let _ = match pace {
            Pace::Crawl => set("strict_limit", "1").and_then(|()| set("max_bytes", UNWRITTEN)),
            Pace::Full => set("strict_limit", "0").and_then(|()| set("max_ratio", "100")),
        };
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.throttle(Pace::Full);
        // Lazily: after a failed test, a process that is about to end may still use it.
        for mounted in [self.store(), self.images()] {
            let _ = Command::new("umount").args(["-l", path(&mounted)]).output();
        }
    }
}

/// How fast the disk may be written.
#[derive(Clone, Copy)]
enum Pace {
    Crawl,
    Full,
}

fn mount_tmpfs(size: &str, on: &Path) -> Outcome {
    run_program("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path(on)])
}

fn uuid() -> String {
    let part = |digits: usize| format!("{:0digits$x}", fastrand::u64(..1 << (4 * digits)));
    [8, 4, 4, 4, 12].map(part).join("-")
}

/// Writes a file until nothing more fits, in ever smaller pieces. Repeats that until the file system has given back all
/// blocks that it keeps in reserve.
fn hog(dir: &Path) {
    let mut hog = OpenOptions::new().create(true).append(true).open(dir.join("hog")).unwrap();
    let mut grows = || {
        let before = hog.metadata().unwrap().len();
        for piece in [64 * KB, KB, 1] {
            assert!((0..100 * KB).any(|_| hog.write_all(&vec![0; piece]).is_err()), "the disk does not become full");
        }
        run_program("sync", &["-f", path(dir)]).unwrap();
        hog.metadata().unwrap().len() > before
    };
    let mut quiet = 0;
    for _ in 0..100 {
        quiet = if grows() { 0 } else { quiet + 1 };
        if quiet == 3 {
            return;
        }
    }
    panic!("the disk does not stay full");
}
