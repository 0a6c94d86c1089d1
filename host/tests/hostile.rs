//! Descriptors and archives that are broken at random: each has an answer, and none that takes long.
//!
//! The same seed breaks the same way; OVF_TEST_LONG=1 tries ten times as many.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ovf_host::descriptor::Descriptor;
use ovf_host::environments::{Choice, Environments};
use ovf_host::package::Package;
use ovf_host::xml::Source;
use tar::EntryType;

mod common;
use common::{descriptor, whole_archive};

/// xorshift64*, which is enough to break things by.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % most
    }
}

fn tries(usual: u64) -> u64 {
    if std::env::var_os("OVF_TEST_LONG").is_some() { usual * 10 } else { usual }
}

/// What breaks the meaning as well as the form.
const PIECES: [&str; 24] = [
    "\"",
    "'",
    "<",
    ">",
    "/>",
    "&",
    "&amp;",
    "${",
    "}",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "ovf:",
    "xmlns=\"\" ",
    "=",
    "VirtualSystem",
    "<ProductSection>",
    "ContractSection",
    "ä",
    "\u{202e}",
    "\0",
    " ovf:required=\"false\"",
    "99999999999999999999",
];

/// What a value may be replaced by without breaking the form.
const VALUES: [&str; 16] = [
    "",
    " ",
    "a",
    "-1",
    "1e999",
    "true",
    "b",
    "${a}",
    "${",
    "$",
    "../x",
    "99999999999999999999",
    "a\u{202e}b",
    "iso",
    "system",
    "ValueMap{&quot;",
];

fn mutant(bases: &[String], random: &mut Random) -> Vec<u8> {
    let mut text = bases[random.below(bases.len())].clone();
    for _ in 0..=random.below(4) {
        gentle(&mut text, random);
    }
    let mut bytes = text.into_bytes();
    if random.below(2) == 0 {
        rough(&mut bytes, random);
    }
    bytes
}

/// Another value, a line more or one less: most of what comes of it is still XML.
fn gentle(text: &mut String, random: &mut Random) {
    let lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    let whole: Vec<_> = (0..lines.len()).filter(|&it| lines[it].trim_end().ends_with("/>")).collect();
    let quotes: Vec<_> = text.match_indices("=\"").map(|(at, _)| at + 2).collect();
    match random.below(4) {
        0 if !whole.is_empty() => {
            let (from, to) = (whole[random.below(whole.len())], whole[random.below(whole.len())]);
            let mut lines = lines;
            lines.insert(to, lines[from].clone());
            *text = lines.concat();
        }
        1 if !whole.is_empty() => {
            let mut lines = lines;
            lines.remove(whole[random.below(whole.len())]);
            *text = lines.concat();
        }
        _ if !quotes.is_empty() => {
            let begin = quotes[random.below(quotes.len())];
            if let Some(length) = text[begin..].find('"') {
                text.replace_range(begin..begin + length, VALUES[random.below(VALUES.len())]);
            }
        }
        _ => {}
    }
}

fn rough(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len().max(1));
    match random.below(6) {
        0 => bytes.truncate(at),
        1 => {
            let end = (at + random.below(40)).min(bytes.len());
            bytes.drain(at..end);
        }
        2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        3 => {
            let end = (at + random.below(400)).min(bytes.len());
            let part = bytes[at..end].to_vec();
            let to = random.below(bytes.len().max(1));
            bytes.splice(to..to, part);
        }
        _ => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.bytes());
        }
    }
}

#[test]
fn every_broken_descriptor_has_an_answer() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut bases: Vec<_> =
        fs::read_dir(fixtures).expect("fixtures").map(|it| it.expect("an entry").path()).collect();
    bases.retain(|it| it.extension().is_some_and(|it| it == "ovf"));
    bases.sort();
    let mut bases: Vec<_> = bases.iter().map(|it| fs::read_to_string(it).expect("UTF-8")).collect();
    bases.retain(|it| roxmltree::Document::parse(it).is_ok());
    let (mut read, mut made, mut longest) = (0, 0, Duration::ZERO);
    let tries = tries(20_000);
    for number in 1..=tries {
        let bytes = mutant(&bases, &mut Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let begun = Instant::now();
        let mut findings = Vec::new();
        match Source::new("broken.ovf", bytes) {
            Err(finding) => findings.push(finding),
            Ok(source) => {
                if let Some(descriptor) = Descriptor::read(&source, &mut findings) {
                    read += 1;
                    let choice = Choice::default();
                    if let Some(environments) =
                        Environments::make(&descriptor, &source, choice, &mut findings)
                    {
                        made += 1;
                        for system in descriptor.systems() {
                            let _ = environments.document(system, &source, &mut String::new());
                        }
                    }
                } else {
                    assert!(!findings.is_empty(), "{number}: no answer");
                }
            }
        }
        for finding in &findings {
            let line = finding.to_string();
            assert!(!line.contains(|it: char| it.is_control() || it == '\u{202e}'), "{number}: {line}");
        }
        longest = longest.max(begun.elapsed());
    }
    assert!(
        read > tries / 10 && made > tries / 100,
        "{read} of {tries} were read, {made} made: too broken to tell"
    );
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

#[test]
fn every_broken_archive_has_an_answer() {
    let text = descriptor(4);
    let whole = whole_archive(&[
        ("a.ovf", EntryType::Regular, text.as_bytes()),
        ("long", EntryType::GNULongName, b"disk.vmdk\0"),
        ("disk", EntryType::Regular, b"disk"),
        ("more", EntryType::XHeader, b"11 size=1\n\n"),
        ("a.mf", EntryType::Regular, b"SHA1(disk.vmdk)= x\n"),
    ]);
    let scratch = tempfile::tempdir().expect("a directory");
    let path = scratch.path().join("a.ova");
    let headers: Vec<_> =
        (0..whole.len() / 512).filter(|it| &whole[it * 512 + 257..it * 512 + 262] == b"ustar").collect();
    let mut opened = 0;
    for number in 1..=tries(5_000) {
        let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut bytes = whole.clone();
        for _ in 0..=random.below(3) {
            let header = headers[random.below(headers.len())] * 512;
            match random.below(4) {
                0 => bytes.truncate(random.below(bytes.len().max(1))),
                1 => {
                    let at = random.below(bytes.len().max(1));
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << random.below(8);
                    }
                }
                // A header that is changed and has its checksum.
                _ if bytes.len() >= header + 512 => {
                    let field = [0, 124, 125, 135, 156][random.below(5)];
                    bytes[header + field] = b"07\x80\xff x5gKLS"[random.below(11)];
                    let block: &mut [u8; 512] =
                        (&mut bytes[header..header + 512]).try_into().expect("a block");
                    block[148..156].fill(b' ');
                    let sum: u32 = block.iter().map(|&it| u32::from(it)).sum();
                    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
                _ => {}
            }
        }
        fs::write(&path, bytes).expect("written");
        let mut findings = Vec::new();
        match Package::open(&path, &mut findings) {
            Ok(package) => {
                opened += 1;
                let _ = package.read(package.descriptor(), 1 << 20);
            }
            Err(finding) => assert!(!finding.message.is_empty()),
        }
    }
    assert!(opened > 100, "{opened} were opened: too broken to tell");
}

/// Thousands of everything, all of it wrong: looking for what was meant must not take for ever.
#[test]
fn a_descriptor_in_which_everything_is_wrong_is_answered_soon() {
    let many = |one: &dyn Fn(usize) -> String| (0..50_000).map(one).collect::<String>();
    let cim = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
    let ovf = "http://schemas.dmtf.org/ovf/envelope/1";
    let text = [
        format!("<Envelope xmlns=\"{ovf}\" xmlns:ovf=\"{ovf}\" xmlns:r=\"{cim}\"><References>"),
        many(&|it| format!("<File ovf:id=\"file{it}\" ovf:href=\"file{it}\"/>\n")),
        "</References><DiskSection><Info/>".to_owned(),
        many(&|it| format!("<Disk ovf:diskId=\"disk{it}\" ovf:fileRef=\"fil{it}\" ovf:capacity=\"1\"/>\n")),
        "</DiskSection><NetworkSection><Info/>".to_owned(),
        many(&|it| format!("<Network ovf:name=\"net{it}\"/>\n")),
        "</NetworkSection><VirtualSystemCollection ovf:id=\"all\"><Info/><StartupSection><Info/>".to_owned(),
        many(&|it| format!("<Item ovf:id=\"vm{it}\" ovf:order=\"1\"/>\n")),
        "</StartupSection><ProductSection><Info/>".to_owned(),
        many(&|it| format!("<Property ovf:key=\"key{it}\" ovf:type=\"string\" ovf:value=\"x\"/>\n")),
        "</ProductSection><VirtualSystem ovf:id=\"vm\"><Info/><ProductSection><Info/>".to_owned(),
        many(&|it| format!("<Property ovf:key=\"k{it}\" ovf:type=\"string\" ovf:value=\"${{key{it}x}}\"/>\n")),
        "</ProductSection><VirtualHardwareSection><Info/>".to_owned(),
        many(&|it| format!("<Item><r:Connection>n{it}</r:Connection><r:HostResource>ovf:/disk/d{it}</r:HostResource></Item>\n")),
        "</VirtualHardwareSection></VirtualSystem></VirtualSystemCollection></Envelope>".to_owned(),
    ]
    .concat();
    let begun = Instant::now();
    let mut findings = Vec::new();
    let source = Source::new("a.ovf", text.into_bytes()).expect("UTF-8");
    assert!(Descriptor::read(&source, &mut findings).is_some());
    for code in ["too-many", "more-warnings"] {
        assert!(findings.iter().any(|it| it.code.as_str() == code), "{code}");
    }
    // Those of reading, and those of comparing, of either kind.
    assert!(findings.len() < 4_100, "{}", findings.len());
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}
