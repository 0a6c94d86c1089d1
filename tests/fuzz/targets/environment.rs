//! Bytes as a document.
//!
//! Decides that nothing may panic or hang, that every place named is in the document, and that a section which is kept
//! parses alone to the same section.

#![no_main]

use hostile::documents::mutate;
use hostile::random::Random;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target, fuzzer_mutate};
use ovf_agent::environment::{Error, ErrorKind, Limit, MAX_DOCUMENT, NAMESPACE, parse};

fuzz_target!(|document: &[u8]| -> Corpus {
    let lines = 1 + document.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    let inside = |line: u32, column: u32| {
        assert!(line >= 1 && line as usize <= lines && column >= 1, "{line}:{column} of {lines} lines");
    };
    match parse(document) {
        Err(error) => inside(error.line, error.column),
        Ok((environment, warnings)) => {
            for warning in warnings {
                inside(warning.line, warning.column);
            }
            for section in &environment.sections {
                let alone =
                    format!("<e:Environment xmlns:e=\"{NAMESPACE}\">{}</e:Environment>", *section.xml);
                if alone.len() > MAX_DOCUMENT {
                    continue;
                }
                let again = match parse(alone.as_bytes()) {
                    // What is added to it are attributes, too.
                    Err(Error { kind: ErrorKind::Limit(Limit::Attributes), .. }) => continue,
                    again => again.expect("a section that is kept parses alone").0,
                };
                let [same] = &again.sections[..] else { panic!("{} sections of one", again.sections.len()) };
                assert_eq!((&same.namespace, &same.name), (&section.namespace, &section.name));
            }
        }
    }
    Corpus::Keep
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed.is_multiple_of(2) {
        return fuzzer_mutate(data, size, max_size);
    }
    let mut document = data[..size].to_vec();
    let other = document.clone();
    mutate(&mut document, &other, &mut Random::new(u64::from(seed), 0));
    document.truncate(max_size);
    data[..document.len()].copy_from_slice(&document);
    document.len()
});
