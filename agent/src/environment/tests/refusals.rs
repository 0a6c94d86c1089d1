//! Documents that are refused: the reason, and the place, which is marked in the document with `¦`.
#![forbid(unsafe_code)]

use super::super::ErrorKind::{self, *};
use super::{NAMESPACE, environment, examine, properties, root, unmark};

fn check(document: &str, expected: &ErrorKind) {
    let (document, places) = unmark(document);
    let [(line, column)] = places[..] else { panic!("one mark is needed: {document}") };
    match examine(document.as_bytes()) {
        Ok(read) => panic!("read as {read:?}: {document}"),
        Err(error) => {
            assert_eq!(
                (&error.kind, error.line, error.column),
                (expected, line, column),
                "{error}\n{document}"
            );
            let message = error.kind.to_string();
            let style =
                !message.ends_with('.') && !message.starts_with(char::is_uppercase) && message.contains("; ");
            assert!(style, "{message}");
            assert_eq!(error.to_string(), format!("line {line}, column {column}: {message}"));
        }
    }
}

fn s(text: &str) -> String {
    text.to_owned()
}

#[test]
fn an_id_with_a_control_character() {
    check(
        &format!("¦<Environment xmlns='{NAMESPACE}' xmlns:e='{NAMESPACE}' e:id='a&#10;b'/>"),
        &ControlInId("Environment"),
    );
    check(
        &format!(
            "<Environment xmlns='{NAMESPACE}' xmlns:e='{NAMESPACE}'>¦<Entity e:id='a&#x9b;b'/></Environment>"
        ),
        &ControlInId("Entity"),
    );
}

#[test]
fn in_a_property() {
    let cases = [
        ("\n<Property oe:key='a' oe:value=\"x s3cr3t¦<y\"/>", LessThanInValue(s("oe:value"))),
        ("<Property oe:key='a' oe:value='¦&s3cr3t;'/>", UnknownEntity),
        ("<Property oe:key='a' oe:value='s3cr3t ¦& x'/>", Ampersand),
        ("<Property oe:key='a' oe:value='s3cr3t¦&#x;'/>", Ampersand),
        ("<Property oe:key='a' oe:value='s3cr3t¦&#0;'/>", CharacterReference),
        ("<Property oe:key='a' oe:value='ä€😀¦&#xFFFF;s3cr3t'/>", CharacterReference),
        ("<Property oe:key='a' oe:value='s3cr3t¦\u{1}'/>", ForbiddenCharacter(1)),
        ("<Property oe:key='a' oe:value='s3cr3t¦\0'/>", ForbiddenCharacter(0)),
        ("<Property oe:key='a' oe:value='s3cr3t¦\u{FFFE}'/>", ForbiddenCharacter(0xFFFE)),
        ("<Property oe:key='a'¦oe:value='s3cr3t'/>", MissingBlank(s("Property"))),
        ("<Property oe:key='a' oe:value=\"x\"¦s3cr3t\"/>", MissingBlank(s("Property"))),
        ("<Property oe:key='a' oe:value=\"x\" ¦s3cr3t\"/>", Attribute(s("Property"))),
        ("<Property oe:key='a' oe:value=\"x\" s3cr3t=¦y\"/>", UnquotedValue(s("Property"))),
        ("<Property oe:key='a' oe:value=¦s3cr3t/>", UnquotedValue(s("Property"))),
        ("<Property oe:key='a' oe:value= ¦/>", UnquotedValue(s("Property"))),
        ("<Property oe:key='a' ¦oe:value/>", Attribute(s("Property"))),
        ("<Property oe:key='a' ¦='s3cr3t'/>", Attribute(s("Property"))),
        ("<Property oe:key='a' ¦/ oe:value='s3cr3t'/>", Attribute(s("Property"))),
        ("<Property oe:key='a' oe:value='s3cr3t' ¦oe:key='b'/>", DuplicateAttribute(s("oe:key"))),
        ("<Property oe:key='a' xmlns:p='N' ¦p:key='s3cr3t'/>", DuplicateAttribute(s("…"))),
        // A quote that is not escaped makes attributes of a value; their names are not shown.
        ("<Property oe:key='a' oe:value='a' s3cr3t='b' ¦s3cr3t='c'/>", DuplicateAttribute(s("…"))),
        ("<Property oe:key='a' oe:value='a' ¦s3c:r3t='b'/>", UnboundPrefix(s("…"))),
        ("<Property oe:key='a' oe:value='a' ¦xmlns:s3cr3t=''/>", NamespaceDeclaration(s("…"))),
        ("<Property xmlns:p='urn:1' ¦xmlns:p='urn:2'/>", DuplicateAttribute(s("…"))),
        ("<Property oe:key='a' oe:value='s3cr3t' oe:¦1='b'/>", Name),
        ("<Property oe:key='a' oe:value='s3cr3t' a:b¦:c='b'/>", Name),
        ("<Property oe:key='a' oe:value='s3cr3t' a¦\u{A0}b='b'/>", Name),
        ("<Property oe:key='a' oe:value='s3cr3t' ¦foo:key='b'/>", UnboundPrefix(s("…"))),
        ("<Property oe:key='a' oe:value='s3cr3t'\n¦<Property/>", UnclosedTag(s("Property"))),
        ("<Property¦\"s3cr3t\"/>", Name),
        ("¦<Property oe:key='a'/>", MissingValue(s("a"))),
        ("¦<Property oe:key='a' x:value='s3cr3t'/>", MissingValue(s("a"))),
        ("¦<Property oe:value='s3cr3t'/>", MissingKey),
        ("¦<Property value='s3cr3t' x:value='s3cr3t'/>", MissingKey),
        ("¦<Property/>", MissingKey),
        ("<Property ¦x:key='a' x:value='s3cr3t'/>", ForeignProperty(s("urn:x"))),
        ("<Property ¦x:value='s3cr3t'/>", ForeignProperty(s("urn:x"))),
    ];
    for (content, expected) in cases {
        check(&properties(&content.replace("'N'", &format!("'{NAMESPACE}'"))), &expected);
    }
}

#[test]
fn in_the_content() {
    let mismatch =
        |expected: &str, line, found: &str| MismatchedEnd { expected: s(expected), line, found: s(found) };
    let cases = [
        ("\n<x:a>\n\n¦</Environment>", mismatch("x:a", 2, "Environment")),
        ("<x:a>¦</a>", mismatch("x:a", 1, "a")),
        ("<x:a>¦</X:a>", mismatch("x:a", 1, "X:a")),
        ("<x:a></x:a ¦b='1'>", EndTag(s("x:a"))),
        ("<x:a></x:a ¦s3cr3t>", EndTag(s("x:a"))),
        ("<x:a></x:a¦\"s3cr3t>", EndTag(s("x:a"))),
        ("<x:a></x:a¦/>", EndTag(s("x:a"))),
        ("<x:a></x:a¦<x:b/>", EndTag(s("x:a"))),
        ("<x:a>¦</>", Name),
        ("<x:a>¦</ x:a>", Name),
        ("<x:a></¦1a>", Name),
        ("1 ¦< 2", Name),
        ("¦<>", Name),
        ("<¦1/>", Name),
        ("<a:¦-b/>", Name),
        ("<¦:a/>", Name),
        ("<a¦:/>", Name),
        ("<a¦=/>", Name),
        ("<¦foo:a/>", UnboundPrefix(s("foo"))),
        ("<¦xmlns:a/>", UnboundPrefix(s("xmlns"))),
        ("<a ¦xmlns:p=''/>", NamespaceDeclaration(s("…"))),
        ("<a ¦xmlns:xmlns='urn:a'/>", NamespaceDeclaration(s("xmlns:xmlns"))),
        ("<a ¦xmlns:xml='urn:a'/>", NamespaceDeclaration(s("xmlns:xml"))),
        ("<a ¦xmlns:p='http://www.w3.org/XML/1998/namespace'/>", NamespaceDeclaration(s("…"))),
        ("<a ¦xmlns='http://www.w3.org/2000/xmlns/'/>", NamespaceDeclaration(s("xmlns"))),
        ("text ¦]]> text", CdataEnd),
        ("¦&nbsp;", UnknownEntity),
        ("fish ¦& chips", Ampersand),
        ("¦&", Ampersand),
        ("¦&amp <x:a/>", Ampersand),
        ("¦&#xD800;", CharacterReference),
        ("<!-- a ¦-- b -->", Comment),
        ("<!-- a ¦--->", Comment),
        ("¦<!->", Markup),
        ("¦<!ELEMENT a ANY>", Markup),
        ("¦<![cdata[a]]>", Markup),
        ("¦<!DOCTYPE a>", Doctype),
        ("¦<?xml version='1.0'?>", MisplacedDeclaration),
        ("¦<?XML version='1.0'?>", ProcessingInstruction),
        ("¦<? a?>", ProcessingInstruction),
        ("¦<??>", ProcessingInstruction),
        ("¦<?a:b c?>", ProcessingInstruction),
        ("¦<?1?>", ProcessingInstruction),
        ("<!-- ¦\u{B} -->", ForbiddenCharacter(0xB)),
        ("<?a ¦\u{1F}?>", ForbiddenCharacter(0x1F)),
        ("<![CDATA[¦\u{FFFF}]]>", ForbiddenCharacter(0xFFFF)),
    ];
    for (content, expected) in cases {
        check(&environment(content), &expected);
    }
}

#[test]
fn around_the_root() {
    let whole = environment("");
    let declared = |text: &str| format!("{text}{whole}");
    let cases = [
        (s("¦"), NoRoot),
        (s(" \n¦"), NoRoot),
        (s("¦\0\0"), NoRoot),
        (s("<!-- only --><?only this?>¦"), NoRoot),
        (s("<?xml version='1.0'?>¦"), NoRoot),
        (declared("¦text"), TextOutsideRoot),
        (declared("  ¦{}"), TextOutsideRoot),
        (declared("¦&amp;"), TextOutsideRoot),
        (declared("¦<![CDATA[]]>"), TextOutsideRoot),
        (declared("\n¦\u{FEFF}"), TextOutsideRoot),
        (declared("<?xml version='1.0'?>¦\u{FEFF}"), TextOutsideRoot),
        (format!("{whole}\n¦garbage"), TextOutsideRoot),
        (format!("{whole}<!-- -->¦&lt;"), TextOutsideRoot),
        (format!("{whole}¦\0<!-- -->"), ForbiddenCharacter(0)),
        (format!("{whole}\n¦{whole}"), SecondRoot(s("Environment"))),
        (format!("{whole}¦<a/>"), SecondRoot(s("a"))),
        (format!("{whole}¦</Environment>"), StrayEnd(s("Environment"))),
        (declared("¦</a>"), StrayEnd(s("a"))),
        (declared("¦<!DOCTYPE Environment [<!ENTITY a \"s3cr3t\">]>"), Doctype),
        (declared("<?xml version='1.0'?>\n¦<!doctype html>"), Doctype),
        (declared("<!-- first -->\n¦<?xml version='1.0'?>"), MisplacedDeclaration),
        (s("¦<Envelope/>"), NotEnvironment(s("Envelope"))),
        (s("¦<environment/>"), NotEnvironment(s("environment"))),
        (s("<?xml version='1.0'?>\n¦<ovf:Envelope xmlns:ovf='urn:x'>"), NotEnvironment(s("ovf:Envelope"))),
        (s("¦<Environment xmlns='urn:x'/>"), ForeignEnvironment(s("urn:x"))),
        (format!("¦<e:Environment xmlns:e='{NAMESPACE}0'/>"), ForeignEnvironment(format!("{NAMESPACE}0"))),
    ];
    for (document, expected) in cases {
        check(&document, &expected);
    }
}

#[test]
fn cut_off() {
    let element = |name: &str, line| UnclosedElement { name: s(name), line };
    let root = root();
    let cases = [
        (format!("{root}¦"), element("Environment", 1)),
        (format!("{root}\n<x:a>\n¦"), element("x:a", 2)),
        (format!("{root}\n<x:a></x:a>text¦"), element("Environment", 1)),
        (format!("{root}\n¦<x:a"), UnclosedMarkup("tag")),
        (format!("{root}\n¦<"), UnclosedMarkup("tag")),
        (format!("{root}\n¦<x:a/"), UnclosedMarkup("tag")),
        (format!("{root}\n¦<x:a b"), UnclosedMarkup("tag")),
        (format!("{root}\n¦<x:a b="), UnclosedMarkup("tag")),
        (format!("{root}\n¦<x:a b='s3cr3t"), UnclosedMarkup("tag")),
        (format!("{root}\n¦<x:a b='s3cr3t' "), UnclosedMarkup("tag")),
        (format!("{root}\n¦</"), UnclosedMarkup("end tag")),
        (format!("{root}\n¦</Environment "), UnclosedMarkup("end tag")),
        (format!("{root}\n¦<!"), UnclosedMarkup("markup")),
        (format!("{root}\n¦<!-"), UnclosedMarkup("markup")),
        (format!("{root}\n¦<![CDA"), UnclosedMarkup("markup")),
        (format!("{root}\n¦<!-- >"), UnclosedMarkup("comment")),
        (format!("{root}\n¦<!-->"), UnclosedMarkup("comment")),
        (format!("{root}\n¦<!--->"), UnclosedMarkup("comment")),
        (format!("{root}\n¦<![CDATA[ ]>"), UnclosedMarkup("CDATA section")),
        (format!("{root}\n¦<?a >"), UnclosedMarkup("processing instruction")),
        (format!("{root}\n¦<?>"), UnclosedMarkup("processing instruction")),
        (s("¦<?xml version='1.0'"), UnclosedMarkup("XML declaration")),
        (s("\n ¦<?xml"), UnclosedMarkup("XML declaration")),
        (format!("{root}\n<x:a>¦\0\0\0\n"), element("x:a", 2)),
    ];
    for (document, expected) in cases {
        check(&document, &expected);
    }
}

#[test]
fn declarations() {
    let good = [
        "<?xml version=\"1.0\"?>",
        "<?xml version='1.0' encoding='UTF-8'?>",
        "<?xml version = '1.1' encoding\n=\n'utf8' standalone='no' ?>",
        "<?xml\tversion='1.0' standalone='yes'?>",
        "<?xml version='1.0' encoding=\"Utf-8\"?>\r\n<!-- --><?xml-stylesheet href='a'?>",
        "<?xmlish?>",
    ];
    for declaration in good {
        assert_eq!(
            examine((declaration.to_owned() + &environment("")).as_bytes()).map(|it| it.1),
            Ok(vec![]),
            "{declaration}"
        );
    }
    let cases = [
        ("¦<?xml?>", Declaration),
        ("¦<?xml encoding='UTF-8'?>", Declaration),
        ("¦<?xml version='2.0'?>", Declaration),
        ("¦<?xml version='1.'?>", Declaration),
        ("<?xml ¦version=1.0?>", Declaration),
        ("<?xml ¦version='1.0?>", Declaration),
        ("<?xml version='1.0'¦encoding='UTF-8'?>", Declaration),
        ("<?xml version='1.0' encoding='¦'?>", Declaration),
        ("<?xml version='1.0' encoding='UTF-8' standalone='¦maybe'?>", Declaration),
        ("<?xml version='1.0' standalone='yes' encoding='¦UTF-8'?>", Declaration),
        ("<?xml version='1.0' encoding='UTF-8' other='¦1'?>", Declaration),
        ("<?xml version='1.0' ¦?encoding='UTF-8'?>", Declaration),
        ("<?xml version='1.0' encoding='¦UTF-8 '?>", Declaration),
        ("<?xml version='1.0' encoding='¦ISO-8859-1'?>", Encoding(s("ISO-8859-1"))),
        ("<?xml version='1.0' encoding='¦utf-16'?>", Encoding(s("utf-16"))),
        ("<?xml version='1.0' encoding='¦US-ASCII'?>", Encoding(s("US-ASCII"))),
    ];
    for (declaration, expected) in cases {
        check(&(declaration.to_owned() + &environment("")), &expected);
    }
}

#[test]
fn other_encodings() {
    let utf16 = |mark: &[u8]| -> Vec<u8> {
        mark.iter().copied().chain(environment("").encode_utf16().flat_map(u16::to_le_bytes)).collect()
    };
    let latin = |declared: &str| {
        let mut bytes = declared.as_bytes().to_vec();
        bytes.extend(properties("\n<Property oe:key='a' oe:value='s3cr3t\u{1}'/>").into_bytes());
        bytes.iter().map(|it| if *it == 1 { 0xE4 } else { *it }).collect::<Vec<u8>>()
    };
    let cases = [
        (utf16(b"\xFF\xFE"), Encoding(s("UTF-16")), (1, 1)),
        (utf16(b""), Encoding(s("UTF-16")), (1, 1)),
        (b"\xFE\xFF\0<".to_vec(), Encoding(s("UTF-16")), (1, 1)),
        (b"\xFF\xFE\0\0<\0\0\0".to_vec(), Encoding(s("UTF-32")), (1, 1)),
        (b"\0\0\0<".to_vec(), Encoding(s("UTF-32")), (1, 1)),
        (b"\x4C\x6F\xA7\x94\x93".to_vec(), Encoding(s("EBCDIC")), (1, 1)),
        (latin(""), NotUtf8, (2, 38)),
        (latin("<?xml version='1.0' encoding='UTF-8'?>"), NotUtf8, (2, 38)),
        // The declaration is the better reason.
        (latin("<?xml version='1.0' encoding='windows-1252'?>"), Encoding(s("windows-1252")), (1, 31)),
        (b"<?xml version='1.0' \xE4".to_vec(), NotUtf8, (1, 21)),
        (b"\x1F\x8B\x08".to_vec(), NotUtf8, (1, 2)),
    ];
    for (document, expected, place) in cases {
        let error = examine(&document).unwrap_err();
        assert_eq!((error.kind, (error.line, error.column)), (expected, place), "{document:?}");
    }
}
