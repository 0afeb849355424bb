//! A process in its sandbox: what it can still do, and what it cannot.
//!
//! Each escape is tried twice, by a child of its own: without a sandbox, where it must work, and with one, where it must
//! fail in the stated way. On a machine without Landlock or seccomp these tests are skipped.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc::process::{self, Exit, PANICKED};
use ipc::sandbox::{Files, Sandbox};
use ipc::signals::Signal;
use ipc::{events, lock};
use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::unistd;

use crate::support::{Empty, Reaper, spawn, without_panic_output};

/// The bytes of the data file that a child may not cut off.
const KEPT: u64 = 1000;
/// The places that a child may write to: two in one file, one in another.
const HEAD: std::ops::Range<u32> = 512..640;
const OWN: std::ops::Range<u32> = 4096..4224;
const UNIT: std::ops::Range<u32> = 64..96;

/// The expected end of an escape.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Expected {
    Fails(Errno),
    Killed,
    Works,
}
use Expected::{Fails, Killed, Works};

/// The files and sockets of a child, as a server's child has them.
struct Scene {
    directory: PathBuf,
    data: File,
    books: File,
    draw: File,
    listener: TcpListener,
    client: TcpStream,
    unbound: c_long,
}

type Attempt = fn(&Scene) -> Result<c_long, Errno>;

/// A system call with its arguments, as an attacker makes it who can run any code.
fn call(number: c_long, arguments: &[c_long]) -> Result<c_long, Errno> {
    let arg = |n: usize| arguments.get(n).copied().unwrap_or(0);
    // SAFETY: the callers pass pointers to live memory, or calls that fail before they read it. The process ends after it.
    let done = unsafe { libc::syscall(number, arg(0), arg(1), arg(2), arg(3), arg(4), arg(5)) };
    Errno::result(done)
}

fn address<T: ?Sized>(of: &T) -> c_long {
    std::ptr::from_ref(of).cast::<u8>() as c_long
}

fn path(text: &str) -> CString {
    CString::new(text).unwrap()
}

impl Scene {
    fn new(directory: &std::path::Path) -> Self {
        let open = |name: &str, append: bool| {
            File::options().read(true).write(true).append(append).open(directory.join(name)).unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let unbound = call(libc::SYS_socket, &[libc::AF_INET.into(), libc::SOCK_STREAM.into()]).unwrap();
        let [data, books, draw] = [("data", true), ("books", false), ("draw", false)].map(|(n, a)| open(n, a));
        Self { directory: directory.to_owned(), data, books, draw, listener, client, unbound }
    }

    fn enter(&self, sandbox: Sandbox) {
        let [appended, books, draw] = [&self.data, &self.books, &self.draw].map(AsFd::as_fd);
        sandbox.begin().unwrap();
        sandbox.close(Some(Files { appended, kept: KEPT, written: [books, draw], locked: books })).unwrap();
        sandbox.narrow(&[(books, HEAD), (books, OWN), (draw, UNIT)]).unwrap();
    }

    fn fd(file: impl AsFd) -> c_long {
        file.as_fd().as_raw_fd().into()
    }

    /// The address 127.0.0.1 with this port.
    fn of_port(port: u16) -> libc::sockaddr_in {
        let sin_addr = libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) };
        libc::sockaddr_in { sin_family: libc::AF_INET as u16, sin_port: port.to_be(), sin_addr, sin_zero: [0; 8] }
    }

    fn name(&self, name: &str) -> CString {
        path(self.directory.join(name).to_str().unwrap())
    }
}

const HERE: c_long = libc::AT_FDCWD as c_long;

fn open(path: &CString, flags: i32) -> Result<c_long, Errno> {
    call(libc::SYS_openat, &[HERE, address(path.as_bytes()), flags.into(), 0o600])
}

/// The same with a number for the descriptor, which the limit does not leave.
fn open_in_room(path: &CString, flags: i32) -> Result<c_long, Errno> {
    let _ = unistd::close(0);
    open(path, flags)
}

fn connect(scene: &Scene) -> Result<c_long, Errno> {
    let to = Scene::of_port(scene.listener.local_addr().unwrap().port());
    call(libc::SYS_connect, &[scene.unbound, address(&to), size_of_val(&to) as c_long])
}

fn bind(scene: &Scene) -> Result<c_long, Errno> {
    let any = Scene::of_port(0);
    call(libc::SYS_bind, &[scene.unbound, address(&any), size_of_val(&any) as c_long])
}

fn fork(_: &Scene) -> Result<c_long, Errno> {
    let child = call(libc::SYS_clone, &[libc::SIGCHLD.into()])?;
    if child == 0 {
        let _ = call(libc::SYS_exit_group, &[0]);
    }
    call(libc::SYS_wait4, &[child])
}

fn map(protection: i32, flags: i32, fd: c_long) -> Result<c_long, Errno> {
    call(libc::SYS_mmap, &[0, 4096, protection.into(), flags.into(), fd])
}

/// Memory is mapped without the right to execute, and gets it afterwards.
fn make_executable(_: &Scene) -> Result<c_long, Errno> {
    let page = map(libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
    call(libc::SYS_mprotect, &[page, 4096, (libc::PROT_READ | libc::PROT_EXEC).into()])
}

fn pwrite(file: &File, at: u32, len: usize) -> Result<c_long, Errno> {
    call(libc::SYS_pwrite64, &[Scene::fd(file), address(&[1u8; 4096]), len as c_long, at.into()])
}

fn parent() -> c_long {
    unistd::getppid().as_raw().into()
}

fn with_vector(number: c_long, file: &File) -> Result<c_long, Errno> {
    let bytes = [1u8; 8];
    let vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    call(number, &[Scene::fd(file), address(&vector), 1])
}

const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;
const NOTHING: Expected = Fails(Errno::ENOSYS);

/// What a process that an attacker has taken over might try.
const ESCAPES: &[(&str, Attempt, Expected)] = &[
    ("read a file", |_| open(&path("/etc/passwd"), libc::O_RDONLY), Fails(Errno::EACCES)),
    ("make a file", |scene| open(&scene.name("new"), libc::O_CREAT | libc::O_WRONLY), Fails(Errno::EACCES)),
    ("list a directory", |_| open(&path("/"), libc::O_DIRECTORY), Fails(Errno::EACCES)),
    (
        "start a program",
        |_| {
            let [program, nothing] = [path("/proc/self/exe"), path("--list")];
            let arguments = [program.as_ptr(), nothing.as_ptr(), std::ptr::null()];
            let _ = unistd::close(1);
            call(libc::SYS_execve, &[address(program.as_bytes()), address(&arguments)])
        },
        Killed,
    ),
    ("make a socket", |_| call(libc::SYS_socket, &[libc::AF_INET.into(), libc::SOCK_STREAM.into()]), NOTHING),
    ("connect", connect, NOTHING),
    ("bind", bind, NOTHING),
    ("listen", |scene| call(libc::SYS_listen, &[scene.unbound, 1]), Killed),
    ("accept", |scene| call(libc::SYS_accept4, &[Scene::fd(&scene.listener)]), Killed),
    (
        "make a link",
        |_| {
            call(
                libc::SYS_socketpair,
                &[libc::AF_UNIX.into(), libc::SOCK_STREAM.into(), 0, [0i32; 2].as_mut_ptr() as c_long],
            )
        },
        Killed,
    ),
    (
        "set an option of the connection",
        |scene| {
            let on = 1;
            let [level, option] = [libc::SOL_SOCKET, libc::SO_KEEPALIVE];
            call(libc::SYS_setsockopt, &[Scene::fd(&scene.client), level.into(), option.into(), address(&on), 4])
        },
        Killed,
    ),
    ("fork", fork, Killed),
    ("signal the parent", |_| call(libc::SYS_kill, &[parent()]), Killed),
    ("signal a thread of the parent", |_| call(libc::SYS_tgkill, &[parent(), parent()]), Killed),
    ("signal a process by a descriptor", |_| call(libc::SYS_pidfd_open, &[parent()]), NOTHING),
    ("remove a file", |scene| call(libc::SYS_unlinkat, &[HERE, address(scene.name("spare").as_bytes())]), NOTHING),
    (
        "rename a file",
        |scene| {
            let [from, to] = ["spare", "moved"].map(|name| scene.name(name));
            call(libc::SYS_renameat2, &[HERE, address(from.as_bytes()), HERE, address(to.as_bytes())])
        },
        NOTHING,
    ),
    (
        "link a file",
        |scene| {
            let [from, to] = ["spare", "linked"].map(|name| scene.name(name));
            call(libc::SYS_linkat, &[HERE, address(from.as_bytes()), HERE, address(to.as_bytes())])
        },
        NOTHING,
    ),
    ("change a mode", |scene| call(libc::SYS_fchmod, &[Scene::fd(&scene.data), 0o666]), NOTHING),
    ("cut kept bytes", |scene| call(libc::SYS_ftruncate, &[Scene::fd(&scene.data), KEPT as c_long - 1]), Killed),
    ("cut another file", |scene| call(libc::SYS_ftruncate, &[Scene::fd(&scene.books), 1 << 20]), Killed),
    ("release a lock", |scene| call(libc::SYS_flock, &[Scene::fd(&scene.data), libc::LOCK_UN.into()]), Killed),
    ("no longer append", |scene| call(libc::SYS_fcntl, &[Scene::fd(&scene.data), libc::F_SETFL.into()]), Killed),
    ("duplicate by fcntl", |scene| call(libc::SYS_fcntl, &[Scene::fd(&scene.data), libc::F_DUPFD.into()]), Killed),
    ("duplicate", |scene| call(libc::SYS_dup, &[Scene::fd(&scene.books)]), NOTHING),
    ("map executable memory", |_| map(RW | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1), NOTHING),
    ("make memory executable", make_executable, NOTHING),
    ("map a file", |scene| map(RW, libc::MAP_SHARED, Scene::fd(&scene.books)), NOTHING),
    ("allow core dumps", |_| call(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE.into(), 1]), Killed),
    ("outlive the parent", |_| call(libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG.into(), 0]), Killed),
    ("read limits", |_| call(libc::SYS_prlimit64, &[0, 0, 0, 0]), Killed),
    ("make a pipe", |_| call(libc::SYS_pipe2, &[[0i32; 2].as_mut_ptr() as c_long]), Killed),
    ("make a file in memory", |_| call(libc::SYS_memfd_create, &[address(path("x").as_bytes())]), NOTHING),
];

/// Ways to write to another agency's record, and around the rule for `pwrite64`.
const WRITES: &[(&str, Attempt, Expected)] = &[
    ("at the front", |scene| pwrite(&scene.books, 0, 64), Killed),
    ("before the head", |scene| pwrite(&scene.books, 511, 2), Killed),
    ("past the head", |scene| pwrite(&scene.books, 576, 65), Killed),
    ("in the next slot", |scene| pwrite(&scene.books, OWN.end, 1), Killed),
    ("in the slot before", |scene| pwrite(&scene.books, OWN.start - 128, 64), Killed),
    ("from the own slot into the next", |scene| pwrite(&scene.books, OWN.end - 1, 2), Killed),
    ("a long way", |scene| pwrite(&scene.books, OWN.start, 4096), Killed),
    ("in another unit", |scene| pwrite(&scene.draw, UNIT.end, 32), Killed),
    ("the head's place in draw", |scene| pwrite(&scene.draw, HEAD.start, 64), Killed),
    ("by pwrite in the data", |scene| pwrite(&scene.data, 0, 1), Killed),
    (
        "far beyond, with the same low bits",
        |scene| {
            let at = (1 << 32) + c_long::from(OWN.start);
            call(libc::SYS_pwrite64, &[Scene::fd(&scene.books), address(&[1u8; 8]), 8, at])
        },
        Killed,
    ),
    ("with write", |scene| call(libc::SYS_write, &[Scene::fd(&scene.books), address(&[1u8; 8]), 8]), Killed),
    ("with write, in draw", |scene| call(libc::SYS_write, &[Scene::fd(&scene.draw), address(&[1u8; 8]), 8]), Killed),
    ("with writev", |scene| with_vector(libc::SYS_writev, &scene.books), NOTHING),
    ("with pwritev", |scene| with_vector(libc::SYS_pwritev, &scene.books), NOTHING),
    ("with pwritev2", |scene| with_vector(libc::SYS_pwritev2, &scene.books), NOTHING),
    (
        "with sendfile",
        |scene| call(libc::SYS_sendfile, &[Scene::fd(&scene.books), Scene::fd(&scene.draw), 0, 8]),
        NOTHING,
    ),
    (
        "with copy_file_range",
        |scene| call(libc::SYS_copy_file_range, &[Scene::fd(&scene.draw), 0, Scene::fd(&scene.books), 0, 8]),
        NOTHING,
    ),
    ("with fallocate", |scene| call(libc::SYS_fallocate, &[Scene::fd(&scene.books), 0, 0, 8]), NOTHING),
];

/// What Landlock stops even without filters of system calls.
const OF_LANDLOCK: &[(&str, Attempt, Expected)] = &[
    ("read a file", |_| open_in_room(&path("/etc/passwd"), libc::O_RDONLY), Fails(Errno::EACCES)),
    ("make a file", |scene| open_in_room(&scene.name("new"), libc::O_CREAT | libc::O_WRONLY), Fails(Errno::EACCES)),
    (
        "remove a file",
        |scene| call(libc::SYS_unlinkat, &[HERE, address(scene.name("spare").as_bytes())]),
        Fails(Errno::EACCES),
    ),
    (
        "start a program",
        |_| {
            let program = path("/proc/self/exe");
            call(libc::SYS_execve, &[address(program.as_bytes()), address(&[std::ptr::null::<u8>()])])
        },
        Fails(Errno::EACCES),
    ),
    ("connect", connect, Fails(Errno::EACCES)),
    ("bind", bind, Fails(Errno::EACCES)),
    ("signal the parent", |_| call(libc::SYS_kill, &[parent()]), Fails(Errno::EPERM)),
    ("trace the parent", |_| call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), parent()]), Fails(Errno::EPERM)),
];

/// Calls of which no form works, and that may need rights to be tried without a sandbox.
const NEVER: &[(&str, Attempt, Expected)] = &[
    ("trace the parent", |_| call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE.into(), parent()]), Killed),
    ("read the parent's memory", |_| call(libc::SYS_process_vm_readv, &[parent()]), Killed),
    ("write the parent's memory", |_| call(libc::SYS_process_vm_writev, &[parent()]), Killed),
    ("fork with clone3", |_| call(libc::SYS_clone3, &[0, 0]), Killed),
    ("io_uring", |_| call(libc::SYS_io_uring_setup, &[1]), NOTHING),
    ("become another user", |_| call(libc::SYS_setuid, &[0]), NOTHING),
    ("new namespaces", |_| call(libc::SYS_unshare, &[libc::CLONE_NEWUSER.into()]), NOTHING),
    ("bpf", |_| call(libc::SYS_bpf, &[0]), NOTHING),
    ("a control of a device", |scene| call(libc::SYS_ioctl, &[Scene::fd(&scene.data)]), Killed),
    ("a further filter", |_| call(libc::SYS_seccomp, &[libc::SECCOMP_SET_MODE_FILTER.into()]), Killed),
    ("no call, as a tracer makes of a skipped one", |_| call(-1, &[]), NOTHING),
    #[cfg(target_arch = "x86_64")]
    ("fork with fork", |_| call(libc::SYS_fork, &[]), NOTHING),
    #[cfg(target_arch = "x86_64")]
    ("a call with the numbers of x32", |_| call(0x4000_0000 | libc::SYS_openat, &[]), NOTHING),
];

/// The sandbox of this kernel, if it has all of it.
fn whole() -> Option<Sandbox> {
    let (sandbox, missing) = Sandbox::probe();
    if !missing.is_empty() {
        eprintln!("SKIPPED: the kernel lacks {}", missing.join(", "));
    }
    missing.is_empty().then_some(sandbox)
}

/// The end of a child that enters the sandbox and then makes the attempt.
fn outcome(sandbox: Sandbox, attempt: Attempt) -> Expected {
    let reaper = Reaper::new();
    let directory = std::env::temp_dir().join(format!("ipc-sandbox-{}", unistd::getpid()));
    fs::create_dir(&directory).unwrap();
    for (name, len) in [("data", 2 * KEPT), ("books", 8192), ("draw", 8192), ("spare", 1)] {
        File::create(directory.join(name)).unwrap().set_len(len).unwrap();
    }
    let inside = directory.clone();
    let child = spawn(Empty, &[], move |Empty, _| {
        let scene = Scene::new(&inside);
        scene.enter(sandbox);
        attempt(&scene).err().map_or(0, |errno| u8::try_from(errno as i32).unwrap())
    });
    let ended = reaper.next();
    fs::remove_dir_all(directory).unwrap();
    assert_eq!(ended.0, child);
    match ended.1 {
        Exit::Code(0) => Works,
        Exit::Code(errno) => Fails(Errno::from_raw(errno)),
        Exit::Killed(Signal::SIGSYS) => Killed,
        exit => panic!("the child ended with {exit:?}"),
    }
}

fn try_all(sandbox: Sandbox, attempts: &[(&str, Attempt, Expected)]) {
    for &(name, attempt, expected) in attempts {
        assert_eq!(outcome(sandbox, attempt), expected, "{name}");
    }
}

fn try_all_outside(attempts: &[(&str, Attempt, Expected)]) {
    for &(name, attempt, _) in attempts {
        assert_eq!(outcome(Sandbox::OFF, attempt), Works, "{name}, without a sandbox");
    }
}

pub fn escapes_fail() {
    let Some(sandbox) = whole() else { return };
    try_all_outside(ESCAPES);
    try_all(sandbox, ESCAPES);
    try_all(sandbox, NEVER);
}

pub fn writes_elsewhere_fail() {
    let Some(sandbox) = whole() else { return };
    try_all_outside(WRITES);
    try_all(sandbox, WRITES);
}

pub fn landlock_alone_closes_files_network_and_processes() {
    let Some(sandbox) = whole() else { return };
    try_all(sandbox.without_seccomp(), OF_LANDLOCK);
}

pub fn process_that_is_off_gives_up_nothing() {
    assert_eq!(outcome(Sandbox::OFF, |_| open(&path("/etc/passwd"), libc::O_RDONLY)), Works);
}

pub fn panic_is_101() {
    let Some(sandbox) = whole() else { return };
    let reaper = Reaper::new();
    without_panic_output(|| {
        let child = spawn(Empty, &[], move |Empty, _| {
            sandbox.begin().unwrap();
            sandbox.close(None).unwrap();
            panic!("on purpose")
        });
        assert_eq!(reaper.next(), (child, Exit::Code(PANICKED.into())));
    });
}

/// Everything that a server's child does, and its parent too.
pub fn work_of_a_server_goes_on() {
    let Some(sandbox) = whole() else { return };
    assert_eq!(outcome(sandbox, |scene| Ok(work(scene))), Works);
    let reaper = Reaper::new();
    let parent = spawn(Empty, &[Signal::SIGCHLD], move |Empty, signals| {
        sandbox.begin().unwrap();
        let child = process::spawn(Empty, &[], |_, _| 7).unwrap();
        let mut ready = [events::PollFd::new(signals.as_fd(), events::PollFlags::POLLIN)];
        events::wait(&mut ready, Some(Instant::now() + crate::support::PATIENCE)).unwrap();
        assert_eq!(process::reap(), Some((child, Exit::Code(7))));
        let mut text = String::new();
        File::open("/proc/self/status").unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"));
        0
    });
    assert_eq!(reaper.next(), (parent, Exit::Code(0)));
}

fn work(scene: &Scene) -> c_long {
    let Scene { data, books, draw, client, listener, .. } = scene;
    assert!(lock::exclusive(books, Duration::ZERO).unwrap().is_some());
    (&*data).write_all(b"a row").unwrap();
    data.set_len(KEPT).unwrap();
    data.sync_data().unwrap();
    assert_eq!((data.metadata().unwrap().len(), listener.local_addr().is_ok()), (KEPT, true));
    for at in [HEAD.start, HEAD.start + 64, OWN.start, OWN.start + 64] {
        books.write_all_at(&[2; 64], at.into()).unwrap();
        // The rest of a write that was cut short.
        books.write_all_at(&[2; 24], u64::from(at) + 40).unwrap();
    }
    draw.write_all_at(&[2; 32], UNIT.start.into()).unwrap();
    books.read_exact_at(&mut [0; 128], OWN.start.into()).unwrap();
    let mut fds = [events::PollFd::new(client.as_fd(), events::PollFlags::POLLOUT)];
    assert_eq!(events::wait(&mut fds, None).unwrap(), 1);
    (&*client).write_all(b"answer").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_micros(20));
    std::thread::yield_now();
    let large = vec![1u8; 8 << 20];
    let map: std::collections::HashMap<_, _> = large.iter().enumerate().take(10_000).collect();
    assert_eq!(map.len(), 10_000);
    // stat, as the time zone of the log needs it, and an open file that fails without an end.
    assert!(fs::metadata("/").is_ok() && File::open("/").is_err());
    0
}
