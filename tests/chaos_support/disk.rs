//! A disk whose power can be cut, and another boot after each cut; in this process's own mount namespace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat;

use super::plan::Kind;
use super::processes::{Outcome, await_some};
use crate::support::ext4::{self, Ext4};

/// Room for a journal and far more bets than a run has.
const SIZE: u64 = 32 << 20;
/// Bytes that a slow disk may have yet to write.
const UNWRITTEN: &str = "16384";

pub struct Disk {
    kind: Kind,
    ext4: Ext4,
    /// Stands in for the kernel's boot id.
    boot_id: PathBuf,
}

impl Disk {
    /// A new one on `dir`/store. This process must have a mount namespace of its own.
    pub fn new(dir: &Path, kind: Kind) -> Outcome<Self> {
        let (options, block) = if kind == Kind::Lazy { ("loop", "4096") } else { ("loop,nodelalloc", "1024") };
        let ext4 = Ext4 { image: dir.join("disk"), mounted_at: dir.join("store"), options };
        fs::create_dir_all(&ext4.mounted_at).unwrap();
        ext4.make(SIZE, &["-b", block])?;
        let disk = Self { kind, ext4, boot_id: dir.join("boot_id") };
        disk.boot()?;
        Ok(disk)
    }

    /// Writes one file out, as the kernel may at any time.
    pub fn write_back(&self, name: &str) {
        // The disk may be full of other work, or the file not there yet.
        let _ = fs::File::open(self.ext4.mounted_at.join(name)).and_then(|file| file.sync_data());
    }

    /// From here on nothing gets onto the disk. Whoever has files on it must go before [`Disk::boot_again`].
    pub fn cut(&self) -> Outcome<()> {
        self.ext4.cut_power()
    }

    pub fn boot_again(&self) -> Outcome<()> {
        self.throttle(Pace::Full);
        await_some("the disk can be unmounted", || Ok(self.ext4.unmount().ok()))?;
        self.ext4.mount()?;
        self.boot()
    }

    fn boot(&self) -> Outcome<()> {
        if self.kind == Kind::Slow {
            self.throttle(Pace::Crawl);
        }
        ext4::another_boot(&self.boot_id)
    }

    /// A write to a device that may have few unwritten pages sleeps between two pages, and there a kill tears it. Where
    /// the kernel does not allow it the disk is merely faster.
    fn throttle(&self, pace: Pace) {
        let Ok(found) = fs::metadata(&self.ext4.mounted_at) else { return };
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
        self.throttle(Pace::Full);
        let _ = self.ext4.unmount();
    }
}

/// How fast the disk may be written.
#[derive(Clone, Copy)]
enum Pace {
    Crawl,
    Full,
}
