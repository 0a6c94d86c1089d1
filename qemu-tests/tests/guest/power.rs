//! Power cuts: what a disk may hold after one, at any moment of an apply, and what the next start makes of it.
//!
//! One apply on an ext4 disk is recorded by QEMU's `blklogwrites` driver: every write, in order, and every flush. What a
//! disk may hold after a cut is everything up to a flush, and of the writes after that any that were made, in any
//! selection: a disk with a cache promises no more. Each such disk is repaired by e2fsck, unpacked by debugfs, and started
//! by the agent on the host, without an environment; then its files must be all old or all new, the state must be theirs,
//! and nothing else may be there. The control is the same agent without its flushes: there the same look must find broken
//! machines, or it would find none anywhere.
//!
//! The agent is the one with debug assertions, for it alone can leave out flushes (`agent/src/sys/fault.rs`).

use crate::Test;
use anyhow::{Context, Result, bail, ensure};
use qemu_tests::{Bench, Connect, Drive, Files, Machine};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The trials of this module.
pub(crate) const TRIALS: &[(&str, Test)] = &[
    ("power: a cut at any moment of an apply leaves all files old or all new", |bench| cuts(bench, true)),
    ("power: without flushes the same cuts leave broken machines, so this test can tell", |bench| {
        cuts(bench, false)
    }),
];

/// Selections of the writes after each flush; `make test-all` tries as many as come to thousands of disks.
const FEW: u64 = 8;
const MANY: u64 = 400;

const SECTOR: usize = 512;

const ENVIRONMENT: &str = r#"<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
  xmlns:e="http://schemas.dmtf.org/ovf/environment/1" e:id="DB1">
  <PropertySection><Property e:key="name" e:value="db1"/></PropertySection>
</Environment>"#;

const SETTINGS: &str = r#"[parameters]
name = { key = "name", type = "string", required = true }
[transport]
order = ["file:/none"]
"#;

/// The files of each generation. One goes, two come, the others change.
const FILES: [&[&str]; 2] = [
    &["etc/a/0", "etc/a/1", "etc/a/2", "etc/a/3", "srv/b/4", "srv/b/5", "srv/b/6", "srv/b/gone"],
    &["etc/a/0", "etc/a/1", "etc/a/2", "etc/a/3", "srv/b/4", "srv/b/5", "srv/b/6", "etc/a/new", "srv/b/new"],
];

fn content(generation: usize) -> String {
    format!("db1, {generation}\n").repeat(300)
}

fn configuration(generation: usize) -> Vec<(String, String)> {
    let template = |path: &&str| {
        let body = format!("{{{{ name }}}}, {generation}\n").repeat(300);
        let name = path.replace('/', "-");
        (format!("templates/{name}.tera"), format!("+++\npath = \"/{path}\"\n+++\n{body}"))
    };
    let settings = ("agent.toml".to_owned(), SETTINGS.to_owned());
    FILES[generation].iter().map(template).chain([settings]).collect()
}

/// A write or a flush, as it is in the log.
struct Entry {
    at: usize,
    data: Vec<u8>,
    flush: bool,
    /// It is on the disk when it is done, whatever the disk's cache.
    durable: bool,
}

/// The log that `blklogwrites` makes (Linux, Documentation/admin-guide/device-mapper/log-writes.rst).
fn read_log(path: &Path) -> Result<Vec<Entry>> {
    let log = fs::read(path)?;
    let number = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().expect("eight bytes"));
    ensure!(number(0) == 0x006a_7366_7773_6872, "no log: {:#x}", number(0));
    let mut entries = Vec::new();
    let mut at = SECTOR;
    for _ in 0..number(16) {
        let (sector, count, flags) = (number(at) as usize, number(at + 8) as usize, number(at + 16));
        at += SECTOR;
        // A discard has no data; ext4 is mounted without.
        ensure!(flags & 4 == 0, "a discard");
        let data = log[at..at + count * SECTOR].to_vec();
        at += data.len();
        entries.push(Entry { at: sector * SECTOR, data, flush: flags & 1 != 0, durable: flags & 2 != 0 });
    }
    Ok(entries)
}

/// Numbers that look like chance and are the same in every run (xorshift64*).
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below.max(1)
    }
}

/// The moments of cuts: the entries up to the first number are there; of those up to the second, which are made but
/// not flushed, a selection by the third.
fn moments(entries: &[Entry], selections: u64) -> Vec<(usize, usize, u64)> {
    let mut moments = Vec::new();
    let mut begin = 0;
    let ends: Vec<usize> = (0..entries.len()).filter(|n| entries[*n].flush).chain([entries.len()]).collect();
    for end in ends {
        // A flush entry may carry a write of its own, made after the flush.
        moments.push((begin, begin, 0));
        for seed in 1..=selections {
            let cut = begin + Chance((seed << 32) | (end as u64 + 1)).next(end - begin + 1);
            if cut > begin {
                moments.push((begin, cut, seed));
            }
        }
        moments.push((end, end, 0));
        begin = end;
    }
    moments.dedup();
    moments
}

fn disk(base: &[u8], entries: &[Entry], (flushed, cut, seed): (usize, usize, u64)) -> Vec<u8> {
    let mut disk = base.to_vec();
    let mut chance = Chance((seed << 16) | (cut as u64 + 1));
    for (number, entry) in entries[..cut].iter().enumerate() {
        if number < flushed || entry.durable || chance.next(2) == 0 {
            disk[entry.at..entry.at + entry.data.len()].copy_from_slice(&entry.data);
        }
    }
    disk
}

/// The agent with debug assertions, which `cargo test -p ovf-agent` leaves beside this program.
fn agent() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("../ovf-agent");
    path.canonicalize().context("target/debug/ovf-agent is missing; remedy: cargo build -p ovf-agent")
}

/// That agent with its loader and libraries, for a guest; without its symbols, which would fill the guest's memory.
fn agent_files(agent: &Path) -> Result<Files> {
    let libraries = run(Command::new("ldd").arg(agent))?;
    let scratch = tempfile::tempdir().context("no scratch directory")?;
    let stripped = scratch.path().join("agent");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(agent))
        .context("remedy: apt-get install binutils")?;
    let mut files = Files::new().with_program("/agent", fs::read(stripped)?);
    let words = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in words {
        files = files.with_program(path, fs::read(path)?);
    }
    Ok(files)
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

struct Host {
    agent: PathBuf,
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ovf-").tempdir_in("/tmp")?;
        fs::write(dir.path().join("env.xml"), ENVIRONMENT)?;
        for generation in 0..2 {
            for (name, text) in configuration(generation) {
                let path = dir.path().join(format!("config{generation}")).join(name);
                fs::create_dir_all(path.parent().expect("below"))?;
                fs::write(path, text)?;
            }
        }
        Ok(Self { agent: agent()?, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn agent(&self, command: &str, root: &Path, generation: usize, source: bool) -> Result<Output> {
        let mut run = Command::new(&self.agent);
        run.args([command, "--log", "warn", "--root"]).arg(root);
        run.arg("--config").arg(self.path(&format!("config{generation}")));
        if source {
            run.arg("--source").arg(format!("file:{}", self.path("env.xml").display()));
        }
        Ok(run.output()?)
    }

    fn apply(&self, root: &Path, generation: usize, source: bool) -> Result<()> {
        let output = self.agent("apply", root, generation, source)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "apply: {}\n{said}", output.status);
        Ok(())
    }

    /// A disk with a machine of the first generation.
    fn base(&self) -> Result<PathBuf> {
        let (root, image) = (self.path("base"), self.path("base.img"));
        for dir in ["etc/a", "srv/b"] {
            fs::create_dir_all(root.join(dir))?;
        }
        self.apply(&root, 0, true)?;
        let owner = fs::metadata(&root)?;
        let owner = format!("root_owner={}:{}", owner.uid(), owner.gid());
        run(Command::new("/sbin/mkfs.ext4")
            .args(["-q", "-b", "1024", "-J", "size=1", "-E", &owner, "-d"])
            .arg(&root)
            .arg(&image)
            .arg("6144"))?;
        Ok(image)
    }

    /// Starts what is on a disk: the generation whose files are there then.
    fn start(&self, name: &str, disk: &[u8]) -> Result<usize> {
        let (image, root) = (self.path(&format!("{name}.img")), self.path(name));
        fs::write(&image, disk)?;
        fs::create_dir(&root)?;
        // 1: it was mended, which after a cut is its trade.
        let check = Command::new("/sbin/e2fsck").args(["-fy"]).arg(&image).output()?;
        ensure!(
            matches!(check.status.code(), Some(0 | 1)),
            "e2fsck: {}",
            String::from_utf8_lossy(&check.stdout)
        );
        run(Command::new("/sbin/debugfs").arg("-R").arg(format!("rdump / {}", root.display())).arg(&image))?;
        fs::remove_file(&image)?;
        self.apply(&root, 1, false)?;
        let generation = generation(&root)?;
        self.apply(&root, 1, true)?;
        ensure!(self::generation(&root)? == 1, "the next pass does not come to the new files");
        let plan = String::from_utf8(self.agent("plan", &root, 1, true)?.stdout)?;
        ensure!(plan.ends_with("0 of 9 files would change\n"), "the plan is not empty: {plan}");
        fs::remove_dir_all(&root)?;
        Ok(generation)
    }
}

/// Which generation's files are there, all of them and nothing else but the state that tells of them.
fn generation(root: &Path) -> Result<usize> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.insert(path.strip_prefix(root)?.to_path_buf(), fs::read_to_string(&path)?);
            }
        }
    }
    found.remove(Path::new("var/lib/ovf-agent/lock"));
    let state = found.remove(Path::new("var/lib/ovf-agent/state.json")).context("there is no state")?;
    let state: serde_json::Value = serde_json::from_str(&state).context("the state is damaged")?;
    for (generation, files) in FILES.iter().enumerate() {
        let content = content(generation);
        if found.len() == files.len() && files.iter().all(|path| found.get(Path::new(path)) == Some(&content))
        {
            ensure!(state["generation"] == generation + 1, "the state says {}", state["generation"]);
            return Ok(generation);
        }
    }
    let shown: Vec<_> =
        found.iter().map(|(path, text)| format!("{} ({})", path.display(), text.len())).collect();
    bail!("a mixture: {}", shown.join(", "))
}

/// Applies the second generation in a guest, and brings back what reached its disk.
fn record(bench: &Bench<'_>, host: &Host, base: &Path, flushes: bool) -> Result<Vec<Entry>> {
    let (image, log) = (host.path("disk.img"), host.path("log"));
    fs::copy(base, &image)?;
    // QEMU does not let it grow.
    fs::File::create(&log)?.set_len(256 << 20)?;
    let machine = Machine::from(Drive::None)
        .option("-blockdev", format!("driver=file,node-name=image,filename={}", image.display()))
        .option("-blockdev", format!("driver=file,node-name=log,filename={}", log.display()))
        .option(
            "-blockdev",
            "driver=blklogwrites,node-name=logged,file=image,log=log,log-super-update-interval=1",
        )
        .option("-device", "virtio-blk-pci,drive=logged");
    let owner = fs::metadata(base)?;
    let user = format!("tester:x:{}:{}::/:/bin/sh\n", owner.uid(), owner.gid());
    let mut files = agent_files(&host.agent)?.with("/etc/passwd", user).with("/env.xml", ENVIRONMENT);
    for (name, text) in configuration(1) {
        files = files.with(&format!("/config/{name}"), text);
    }
    let mut vm = bench.boot(&machine, &files, Connect::Later)?;
    vm.run("load virtio_blk crc32c_generic ext4 && mkdir /disk && mount -t ext4 -o commit=1,nodiscard /dev/vda /disk")?;
    let fault = if flushes { "" } else { "OVF_AGENT_FAULT=nosync" };
    vm.run(&format!(
        "su -s /bin/sh tester -c '{fault} /agent apply --root /disk --config /config --source file:/env.xml' 2>&1"
    ))?;
    // The file system commits names by itself after a second, and content only much later.
    vm.run(if flushes { "sleep 4" } else { "sleep 12" })?;
    drop(vm);
    read_log(&log)
}

fn cuts(bench: &Bench<'_>, flushes: bool) -> Result<()> {
    let host = Host::new()?;
    let base = host.base()?;
    let entries = record(bench, &host, &base, flushes)?;
    let base = fs::read(base)?;
    let selections = if crate::is_long() { MANY } else { FEW };
    let moments = moments(&entries, selections);
    let (next, seen) = (AtomicUsize::new(0), [AtomicUsize::new(0), AtomicUsize::new(0)]);
    let work = || {
        let mut broken = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(moment) = moments.get(number) else { return broken };
            match host.start(&format!("cut-{number}"), &disk(&base, &entries, *moment)) {
                Ok(generation) => drop(seen[generation].fetch_add(1, Ordering::Relaxed)),
                Err(error) => broken.push(format!("{moment:?} of {}: {error:#}", entries.len())),
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(4, usize::from);
    let broken: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().flat_map(|worker| worker.join().expect("its message is above")).collect()
    });
    let flushed = entries.iter().filter(|entry| entry.flush).count();
    let [old, new] = seen.map(AtomicUsize::into_inner);
    bench.measured(format!(
        "{} writes, {flushed} flushes; {} disks: {old} old, {new} new, {} broken",
        entries.len() - flushed,
        moments.len(),
        broken.len()
    ));
    if flushes {
        ensure!(broken.is_empty(), "{} of {} disks:\n{}", broken.len(), moments.len(), broken.join("\n"));
        ensure!(old > 10 && new > 10 && moments.len() > 60, "too few to show anything: {old} old, {new} new");
    } else {
        ensure!(!broken.is_empty(), "none of {} disks is broken: {old} old, {new} new", moments.len());
    }
    Ok(())
}
