//! This process: what program it is, who it runs as, what its standard error is, what its service manager or a hook told it.

use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// The effective user, 0 for root.
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The effective group.
pub fn egid() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Whether PID 1 has another root than we have: an initramfs runs us in the root file system to be. Where that cannot be told, it
/// has the same; we may not look without `CAP_SYS_PTRACE`.
pub fn is_in_chroot() -> bool {
    let identity = |path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((identity("/proc/1/root"), identity("/")), (Ok(theirs), Ok(ours)) if theirs != ours)
}

/// Whether a service manager connected our output to a journal (systemd.exec(5), `$JOURNAL_STREAM`).
pub fn has_journal_stream() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

/// Where the service manager put this process's credentials (systemd.exec(5), `$CREDENTIALS_DIRECTORY`).
pub fn credentials_directory() -> Option<std::path::PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").map(Into::into)
}

/// The moment of the hook that we run in, as `hooks` tells it (`$OVF_HOOK`).
pub fn hook() -> Option<String> {
    std::env::var("OVF_HOOK").ok()
}

/// Takes the address at which the service manager wants to hear of us (sd_notify(3), `$NOTIFY_SOCKET`) out of our environment, so
/// that nobody whom we start speaks there in our name.
pub fn take_notify_socket() -> Option<String> {
    const NAME: &str = "NOTIFY_SOCKET";
    let address = std::env::var_os(NAME)?;
    // SAFETY: the agent has one thread, so nobody reads the environment meanwhile.
    unsafe { std::env::remove_var(NAME) };
    address.into_string().ok()
}

/// How the main process of a unit ended, in systemd's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `success`, `exit-code`, `signal`, `core-dump`, `timeout`, `start-limit-hit` and others.
    pub result: String,
    /// `exited`, `killed`, `dumped`; empty where there was no process.
    pub code: String,
    /// The exit status, or the signal's name without `SIG`.
    pub status: String,
}

/// How the unit ended that this process belongs to (`ExecStopPost=`), or `of_another` whose `OnFailure=` started this one
/// (systemd.exec(5), `$SERVICE_RESULT` and `$MONITOR_SERVICE_RESULT`, the latter since systemd 251).
pub fn end_of_service(of_another: bool) -> Option<End> {
    let before = if of_another { "MONITOR_" } else { "" };
    let variable = |name| std::env::var(format!("{before}{name}")).ok();
    Some(End {
        result: variable("SERVICE_RESULT")?,
        code: variable("EXIT_CODE").unwrap_or_default(),
        status: variable("EXIT_STATUS").unwrap_or_default(),
    })
}

/// Whether standard error leads to nobody in particular: closed, `/dev/null` or the console. A program that init
/// started before there is any log has one of these; a person's terminal, a pipe or a file is none.
pub fn stderr_is_unattended() -> bool {
    const NULL: (u64, u64) = (1, 3);
    const CONSOLE: (u64, u64) = (5, 1);
    match nix::sys::stat::fstat(std::io::stderr()) {
        Ok(stat) if stat.st_mode & nix::libc::S_IFMT == nix::libc::S_IFCHR => {
            let device = (nix::sys::stat::major(stat.st_rdev), nix::sys::stat::minor(stat.st_rdev));
            device == NULL || device == CONSOLE
        }
        Ok(_) => false,
        Err(_) => true,
    }
}

/// What tells this program from any other, and from any other build of it: the first page of its file, which has the sizes of
/// all its parts, and in what we ship the linker's digest of them (`--build-id`). `None` where there is no `/proc` yet.
pub fn stamp() -> Option<Vec<u8>> {
    let mut page = Vec::with_capacity(4096);
    std::fs::File::open("/proc/self/exe").ok()?.take(4096).read_to_end(&mut page).ok()?;
    Some(page)
}

/// Sixteen hexadecimal digits that no other process has.
pub fn random_id() -> String {
    let mut bytes = [0_u8; 8];
    random(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Fills `bytes` with the kernel's random numbers, once its pool is initialised: fit for secrets.
pub fn random(bytes: &mut [u8]) {
    // Up to 256 bytes are given whole, whatever signals come (getrandom(2)).
    for part in bytes.chunks_mut(256) {
        // SAFETY: the buffer is ours and as long as the length says; getrandom(2) writes at most that.
        let got = unsafe { nix::libc::getrandom(part.as_mut_ptr().cast(), part.len(), 0) };
        assert_eq!(
            usize::try_from(got),
            Ok(part.len()),
            "getrandom gives up to 256 bytes whole once the pool is initialised"
        );
    }
}

/// The kernel's message buffer, to write to, if we may (dev-kmsg).
pub fn open_kmsg() -> Option<std::fs::File> {
    std::fs::OpenOptions::new().write(true).open("/dev/kmsg").ok()
}
