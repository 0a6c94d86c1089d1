//! Documents broken at random, the same ones every time: none may panic, point outside of itself, or show a
//! value.
#![forbid(unsafe_code)]

use super::{SECRET, environment, examine};

/// Marsaglia's xorshift: no quality is needed, only repetition.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// What breaks documents best.
const SPLINTERS: [&[u8]; 32] = [
    b"<",
    b">",
    b"/",
    b"\"",
    b"'",
    b"=",
    b"&",
    b";",
    b" ",
    b"\n",
    b":",
    b"]]>",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"<?",
    b"?>",
    b"<!DOCTYPE a>",
    b"&amp;",
    b"&#",
    b"&#x41;",
    b"\0",
    b"\xEF\xBB\xBF",
    b"\xC3\xA4",
    b"\xC3",
    b"\xEF\xBF\xBF",
    b"xmlns='u'",
    b" xmlns:oe=''",
    b"</a>",
    b"<a>",
    b"<?xml version='1.0'?>",
    b"/>",
];

fn mutate(document: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(document.len());
    let end = (at + 1 + random.below(12)).min(document.len());
    match random.below(5) {
        0 => {
            document.drain(at..end);
        }
        1 => document.truncate(at),
        2 => {
            if let Some(byte) = document.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        _ => {
            let splinter = SPLINTERS[random.below(SPLINTERS.len())];
            document.splice(at..at, splinter.iter().copied());
        }
    }
}

#[test]
fn mutants_do_no_harm() {
    let value = format!("a{SECRET}&amp;{SECRET}z");
    let documents = [
        environment(&format!(
            "<PropertySection><Property oe:key='k' oe:value=\"{value}\"/></PropertySection>"
        )),
        format!(
            "<?xml version='1.0' encoding='UTF-8'?>
<Environment oe:id=''><PropertySection><Property key='k' oe:value='{value}'/></PropertySection>
<Entity/></Environment>
"
        ),
        environment(
            "<PlatformSection><Kind>a&lt;<![CDATA[b]]></Kind><Timezone>1</Timezone></PlatformSection>
             <x:S a='1'><!-- c --></x:S>",
        ),
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut refused = 0;
    for round in 0..20_000 {
        let mut document = documents[round % documents.len()].clone().into_bytes();
        for _ in 0..=random.below(3) {
            mutate(&mut document, &mut random);
        }
        refused += usize::from(examine(&document).is_err());
    }
    // Neither all nor nothing, or the mutants are no good.
    assert!((10_000..19_900).contains(&refused), "{refused}");
}
