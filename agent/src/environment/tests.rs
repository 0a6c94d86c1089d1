//! What `parse` makes of documents: a table for each rule. Well-formedness has its own file; the published documents are
//! in `tests/shared.rs`, broken ones in `tests/hostile`.
//!
//! Every value in these documents has [`SECRET`] in it, and whatever is printable is searched for it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod refusals;

use super::{
    AZURE_NAMESPACE, Adapter, Environment, Error, ErrorKind, Limit, NAMESPACE, Platform, Value, Warning,
    parse,
};

/// Part of every value here that must not be shown.
const SECRET: &str = "s3cr3t";

/// The start of a proper document, with its usual prefixes.
fn root() -> String {
    format!("<Environment xmlns=\"{NAMESPACE}\" xmlns:oe=\"{NAMESPACE}\" xmlns:x=\"urn:x\" oe:id=\"vm\">")
}

/// A proper document with this content.
fn environment(content: &str) -> String {
    format!("{}{content}</Environment>", root())
}

/// A proper document with these properties.
fn properties(content: &str) -> String {
    environment(&format!("<PropertySection>{content}</PropertySection>"))
}

/// Parses, and checks what holds for every document: positions are inside it, and no value is shown.
fn examine(document: &[u8]) -> Result<(Environment, Vec<Warning>), Error> {
    let result = parse(document);
    let input = String::from_utf8_lossy(document);
    let lines = u32::try_from(input.split(['\n', '\r']).count()).unwrap();
    let inside = |line: u32, column: u32| {
        assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column} is not in {input}");
    };
    let mut shown = format!("{result:?}");
    match &result {
        Ok((_, warnings)) => {
            for warning in warnings {
                inside(warning.line, warning.column);
                shown += &warning.to_string();
            }
        }
        Err(error) => {
            inside(error.line, error.column);
            shown += &error.to_string();
        }
    }
    assert!(!shown.contains(SECRET), "a value is shown: {shown}\n{input}");
    result
}

/// Parses a document that must be read.
fn read(document: &str) -> (Environment, Vec<Warning>) {
    match examine(document.as_bytes()) {
        Ok(read) => read,
        Err(error) => panic!("{error}\n{document}"),
    }
}

fn pairs(environment: &Environment) -> Vec<(&str, &str)> {
    environment.properties.iter().map(|(key, value)| (key, value.reveal())).collect()
}

/// Takes the marks `¦` out of a document and says where they were: lines and columns.
fn unmark(marked: &str) -> (String, Vec<(u32, u32)>) {
    let (mut places, mut before) = (Vec::new(), String::new());
    for part in marked.split('¦') {
        before += part;
        let text = before.trim_start_matches('\u{FEFF}');
        let column = text.rsplit('\n').next().map_or(0, |it| it.chars().count()) + 1;
        let line = text.matches('\n').count() + 1;
        places.push((u32::try_from(line).unwrap(), u32::try_from(column).unwrap()));
    }
    places.pop();
    (before, places)
}

/// Checks warnings by what must be in them.
fn assert_warned(warnings: &[Warning], expected: &[&str], input: &str) {
    let as_expected = warnings.len() == expected.len()
        && warnings.iter().zip(expected).all(|(found, expected)| found.message.contains(expected));
    assert!(as_expected, "{warnings:#?} instead of {expected:#?}\n{input}");
}

/// Input, what is read from it, and the warnings.
type Case<'a, I, T> = (I, T, &'a [&'a str]);

#[test]
fn properties_are_read() {
    let cases: [(&str, &[(&str, &str)]); 10] = [
        ("", &[]),
        ("<Property oe:key='a' oe:value='s3cr3t'/>", &[("a", "s3cr3t")]),
        ("<oe:Property oe:value=\"s3cr3t\"\n\toe:key = \"a\" ></oe:Property >", &[("a", "s3cr3t")]),
        ("<Property oe:key='' oe:value=''/>", &[("", "")]),
        ("<Property oe:key='a.b.c:d e' oe:value=' s3cr3t '/>", &[("a.b.c:d e", " s3cr3t ")]),
        ("<Property oe:key='a' oe:value='s3cr3t&amp;&lt;&#10;&#x9;\r\n\tx'/>", &[("a", "s3cr3t&<\n\t  x")]),
        ("<Property oe:key='k&amp;&#228;' oe:value='s3cr3t' x:more='s3cr3t'/>", &[("k&ä", "s3cr3t")]),
        (
            "<Property oe:key='b' oe:value='1'/><!-- s3cr3t --><Property oe:key='a' oe:value='2'/>",
            &[("b", "1"), ("a", "2")],
        ),
        // Somebody else's elements, and what is inside them.
        (
            "<x:Property oe:key='a' oe:value='s3cr3t'/><x:y><Property oe:key='b' oe:value='s3cr3t'/></x:y>",
            &[],
        ),
        (
            "<p:Property xmlns:p='http://schemas.dmtf.org/ovf/environment/1' p:key='a' p:value='1'/>",
            &[("a", "1")],
        ),
    ];
    for (content, expected) in cases {
        let (environment, warnings) = read(&properties(content));
        assert_eq!(pairs(&environment), expected, "{content}");
        assert_eq!(warnings, [], "{content}");
    }
}

#[test]
fn namespaces_count_and_prefixes_do_not() {
    let documents = [
        "<Environment xmlns='E' xmlns:q='E' q:id='vm'>
         <PropertySection><Property q:key='a' q:value='s3cr3t'/></PropertySection></Environment>",
        "<n:Environment xmlns:n='E' n:id='vm'>
         <n:PropertySection><n:Property n:key='a' n:value='s3cr3t'/></n:PropertySection></n:Environment>",
        "<e:Environment e:id='vm' xmlns:e='E'><PropertySection xmlns='E' xmlns:e='urn:x' xmlns:f='E'>
         <Property f:key='a' f:value='s3cr3t' e:key='b'/></PropertySection></e:Environment>",
        "<Environment xmlns='E' xmlns:oe='E' oe:id='vm'><PropertySection>
         <Property xmlns:oe='E' oe:key='a' oe:value='s3cr3t'/></PropertySection></Environment>",
        // The declaration of an element that has ended means nothing any more.
        "<Environment xmlns='E' xmlns:oe='E' oe:id='vm'><x xmlns='urn:x' xmlns:oe='urn:x'/><PropertySection>
         <Property oe:key='a' oe:value='s3cr3t'/></PropertySection></Environment>",
        "<Environment xmlns='E' xmlns:oe='&#x45;' oe:id='vm' xml:lang='de'
         xmlns:xml='http://www.w3.org/XML/1998/namespace'><PropertySection>
         <Property oe:key='a' oe:value='s3cr3t'/></PropertySection></Environment>",
    ];
    for document in documents {
        let document = document
            .replace("'E'", &format!("'{NAMESPACE}'"))
            .replace("&#x45;", &NAMESPACE.replace("env", "&#101;nv"));
        let (environment, warnings) = read(&document);
        assert_eq!(
            (environment.id.as_str(), pairs(&environment)),
            ("vm", vec![("a", "s3cr3t")]),
            "{document}"
        );
        assert_eq!(warnings, [], "{document}");
    }
}

#[test]
fn mistakes_are_mended_with_a_warning_that_says_where() {
    let property = "<Property oe:key='a' oe:value='s3cr3t'/>";
    let proper = properties(property);
    let rest = &proper[root().len()..];
    let bare = "¦<Environment ¦id='vm'><PropertySection><Property key='a' value='s3cr3t'/>\
                </PropertySection></Environment>";
    let cases: [(String, &[&str]); 17] = [
        (format!("\u{FEFF}¦{proper}"), &["byte order mark"]),
        (format!("\n \t¦<?xml version='1.0'?>{proper}"), &["blanks before the XML declaration"]),
        (
            format!("\u{FEFF}¦\n¦<?xml version='1.0'?>{proper}\n¦\0\0 \0"),
            &["byte order mark", "blanks before", "NUL after the document"],
        ),
        (format!("{proper}¦\0\n"), &["NUL after the document"]),
        (
            bare.to_owned(),
            &[
                "`Environment` has no namespace; taken for one of \
                    `http://schemas.dmtf.org/ovf/environment/1` (2 more like this)",
                "`id` is not in the namespace `http://schemas.dmtf.org/ovf/environment/1`; \
                    taken for one that is (2 more like this)",
            ],
        ),
        (properties("\n<Property oe:key='a' ¦value='s3cr3t'/>"), &["the attribute `value` is not in"]),
        (properties("\n<Property ¦oe:name='a' oe:value='s3cr3t'/>"), &["`oe:name` instead of `key`"]),
        (
            properties("\n<Property ¦¦name='a' oe:value='s3cr3t'/>"),
            &["`name` is not in the namespace", "`name` instead of `key`"],
        ),
        (
            bare.replace("id=", "oe:id=").replace("key", "oe:key").replace("value", "oe:value"),
            &["no namespace", "the prefix `oe` is not bound; taken for xmlns:oe="],
        ),
        (
            format!("<¦ovfenv:Environment ¦oe:id='vm'>¦{rest}").replace("</E", "</ovfenv:E"),
            &["`ovfenv` is not bound", "`oe` is not bound", "`PropertySection` has no namespace"],
        ),
        (
            proper.replace("oe:id", "xmlns:ovf='http://schemas.dmtf.org/ovf/envelope/1' ¦ovf:id"),
            &["`ovf:id` is not in the namespace"],
        ),
        (
            environment(&format!(
                "<PropertySection/>\n¦<PropertySection>{property}</PropertySection>\n¦<PropertySection/>"
            )),
            &["another `PropertySection`; merged", "another `PropertySection`; merged"],
        ),
        (
            properties(&format!("{property}\n ¦${{rest}} ")),
            &["text directly in `PropertySection` was ignored"],
        ),
        (
            properties(&format!("{property}¦<![CDATA[s3cr3t]]>\n&lt;")),
            &["text directly in `PropertySection` was ignored; properties are elements (1 more like this)"],
        ),
        (
            environment(&format!(
                "<PropertySection>{property}</PropertySection>\n¦<Property oe:key='b' oe:value='s3cr3t'/>"
            )),
            &["a `Property` outside of a `PropertySection`"],
        ),
        (
            properties(&format!("\n¦<Property x:key='s3cr3t' oe:value='s3cr3t'/>{property}")),
            &["its `x:key` is of another namespace"],
        ),
        (
            properties(&format!("<Property oe:key='a' oe:value='s3cr3t 1'/>\n¦{property}")),
            &["property `a` is given again; the last one counts"],
        ),
    ];
    for (document, expected) in cases {
        let (document, places) = unmark(&document);
        let (environment, warnings) = read(&document);
        assert_eq!(
            (environment.id.as_str(), pairs(&environment)),
            ("vm", vec![("a", "s3cr3t")]),
            "{document}"
        );
        let found: Vec<_> = warnings.iter().map(|it| (it.line, it.column)).collect();
        assert_eq!(found, places, "{warnings:?}\n{document}");
        assert_warned(&warnings, expected, &document);
    }
}

#[test]
fn the_proper_attribute_wins_over_its_substitutes() {
    let cases = [
        ("<Property value='1' oe:value='2' oe:key='a' key='b'/>", ("a", "2"), 0),
        ("<Property oe:name='b' oe:key='a' oe:value='2'/>", ("a", "2"), 0),
        ("<Property ovfenv:value='1' value='2' oe:key='a'/>", ("a", "2"), 2),
        (
            "<Property o:value='1' ovfenv:value='2' oe:key='a' \
             xmlns:o='http://schemas.dmtf.org/ovf/envelope/2'/>",
            ("a", "2"),
            1,
        ),
        ("<Property x:key='b' x:value='1' oe:key='a' oe:value='2'/>", ("a", "2"), 0),
    ];
    for (content, expected, warned) in cases {
        let (environment, warnings) = read(&properties(content));
        assert_eq!(pairs(&environment), [expected], "{content}");
        assert_eq!(warnings.len(), warned, "{content} {warnings:?}");
    }
}

#[test]
fn an_empty_id_is_legal_and_so_is_none() {
    for (attribute, expected) in [("", ""), ("oe:id=''", ""), ("oe:id=' a&amp;b '", " a&b ")] {
        let document = format!("<Environment xmlns='{NAMESPACE}' xmlns:oe='{NAMESPACE}' {attribute}/>");
        let (environment, warnings) = read(&document);
        assert_eq!((environment.id.as_str(), warnings.len()), (expected, 0), "{document}");
    }
}

#[test]
fn the_platform_section_is_read() {
    let platform = |kind: &str, locale: &str, timezone| Platform {
        kind: Some(kind.to_owned()),
        locale: Some(locale.to_owned()),
        timezone,
        ..Platform::default()
    };
    let both = "<Kind>a</Kind><Locale>b</Locale>";
    let cases: [Case<'_, &str, Platform>; 16] = [
        ("", Platform::default(), &[]),
        (both, platform("a", "b", None), &[]),
        ("<Kind>\r\n a&amp;<![CDATA[<b>]]>c \n</Kind><Locale/>", platform("a&<b>c", "", None), &[]),
        (
            "<Kind> a &amp; <![CDATA[b ]]> &lt;<!-- c --> <![CDATA[ ]]> &gt; d </Kind><Locale> <![CDATA[ e]]></Locale>",
            platform("a & b  <   > d", "e", None),
            &[],
        ),
        (
            "<Kind>a\nb</Kind><Locale>b</Locale><Kind>a</Kind>",
            platform("a", "b", None),
            &["`Kind` has a control character"],
        ),
        (
            "<Kind x:more='1'>a<x:y>no</x:y>b</Kind><!-- --><Locale>&#228;</Locale>",
            platform("ab", "ä", None),
            &[],
        ),
        ("<Kind>a</Kind><Locale>b</Locale><Timezone>60</Timezone>", platform("a", "b", Some(60)), &[]),
        (
            "<Kind>a</Kind><Locale>b</Locale><Timezone> -0330\n</Timezone>",
            platform("a", "b", Some(-330)),
            &[],
        ),
        (
            "<Timezone>1</Timezone><Kind>a</Kind><Locale>b</Locale><Timezone>2</Timezone>",
            platform("a", "b", Some(2)),
            &["`Timezone` is given again"],
        ),
        ("<Kind>a</Kind><Locale>b</Locale><TimeZone>+5</TimeZone>", platform("a", "b", Some(5)), &[]),
        (
            "<Kind>a</Kind><Locale>b</Locale><Timezone>UTC</Timezone>",
            platform("a", "b", None),
            &["`Timezone` is not"],
        ),
        ("<Kind>a</Kind><Locale>b</Locale><Timezone/>", platform("a", "b", None), &["`Timezone` is not"]),
        (
            "<Kind>a</Kind><Locale>b</Locale><Timezone>99999999999</Timezone>",
            platform("a", "b", None),
            &["`Timezone` is"],
        ),
        (
            "<Kind>z</Kind><Kind>a</Kind><Locale>b</Locale>",
            platform("a", "b", None),
            &["`Kind` is given again"],
        ),
        ("<x:Kind>z</x:Kind><Kind>a</Kind><Other>z</Other><Locale>b</Locale>", platform("a", "b", None), &[]),
        (
            "<Kind>a</Kind></PlatformSection><PlatformSection><Locale>b</Locale>",
            platform("a", "b", None),
            &[],
        ),
    ];
    for (content, expected, expected_warnings) in cases {
        let (environment, warnings) =
            read(&environment(&format!("<PlatformSection>{content}</PlatformSection>")));
        assert_eq!(environment.platform, expected, "{content}");
        assert_warned(&warnings, expected_warnings, content);
    }
}

#[test]
fn entities_have_their_own_properties_and_each_id_is_there_once() {
    let own = |id: &str| {
        let property = format!("<Property oe:key='of' oe:value='{id}'/>");
        format!("<Entity oe:id='{id}'><PropertySection>{property}</PropertySection></Entity>")
    };
    let cases: [Case<'_, String, &[(&str, usize)]>; 7] = [
        (own("a") + &own("b"), &[("a", 1), ("b", 1)], &[]),
        ("<Entity oe:id='a'/><Entity oe:id='b'></Entity>".to_owned(), &[("a", 0), ("b", 0)], &[]),
        ("<Entity/>".to_owned(), &[("", 0)], &["an entity has no attribute `id`"]),
        (
            own("b") + "<Entity oe:id='a'/><Entity oe:id='b'/>",
            &[("b", 0), ("a", 0)],
            &["entity `b` is given again"],
        ),
        ("<Entity id='a'/>".to_owned(), &[("a", 0)], &["`id` is not in the namespace"]),
        ("<x:Entity oe:id='a'/>".to_owned() + &own("b"), &[("b", 1)], &[]),
        (
            own("a").replace("</Entity>", "<PropertySection/><x:Any oe:id='b'/></Entity>"),
            &[("a", 1)],
            &["another `PropertySection`"],
        ),
    ];
    for (content, expected, expected_warnings) in cases {
        let (environment, warnings) = read(&environment(&content));
        let found: Vec<_> =
            environment.entities.iter().map(|it| (it.id.as_str(), it.properties.len())).collect();
        assert_eq!(found, expected, "{content}");
        for entity in environment.entities.iter().filter(|it| !it.properties.is_empty()) {
            assert_eq!(entity.properties.get("of").map(Value::reveal), Some(entity.id.as_str()), "{content}");
        }
        assert!(environment.properties.is_empty(), "{content}");
        assert_warned(&warnings, expected_warnings, &content);
    }
}

#[test]
fn a_siblings_platform_is_its_own() {
    let (environment, _) = read(&environment(
        "<PlatformSection><Kind>mine</Kind></PlatformSection>
         <Entity oe:id='a'><PlatformSection><Kind>its</Kind></PlatformSection></Entity>",
    ));
    assert_eq!(environment.platform.kind.as_deref(), Some("mine"));
    let its = environment.entities[0].platform.as_ref().expect("a platform");
    assert_eq!(its.kind.as_deref(), Some("its"));
}

#[test]
fn adapters_are_read_from_vmwares_section() {
    let adapter =
        |mac: &str, network: &str, unit| Adapter { mac: mac.to_owned(), network: network.to_owned(), unit };
    let cases: [(&str, &[Adapter], usize); 9] = [
        ("", &[], 0),
        (
            "<ve:Adapter ve:mac='0:1' ve:network='a &amp; b' ve:unitNumber='7'/>",
            &[adapter("0:1", "a & b", Some(7))],
            0,
        ),
        ("<ve:Adapter ve:mac='0:1' ve:network='n'/>", &[adapter("0:1", "n", None)], 0),
        (
            "<ve:Adapter ve:mac='1'/><ve:Adapter ve:mac='2'/>",
            &[adapter("1", "", None), adapter("2", "", None)],
            0,
        ),
        ("<ve:Adapter ve:network='n'/>", &[adapter("", "n", None)], 1),
        ("<ve:Adapter ve:mac='1' ve:unitNumber='seven'/>", &[adapter("1", "", None)], 1),
        ("<ve:Adapter mac='1' network='n' oe:mac='2'/>", &[adapter("1", "n", None)], 1),
        ("<Adapter ve:mac='1'/><ve:Other ve:mac='1'/>", &[], 0),
        ("<ve:Adapter ve:mac='1'><ve:Adapter ve:mac='2'/></ve:Adapter>", &[adapter("1", "", None)], 0),
    ];
    for (content, expected, warned) in cases {
        let section = format!(
            "<ve:EthernetAdapterSection xmlns:ve='{}'>{content}</ve:EthernetAdapterSection>",
            super::VMWARE_NAMESPACE
        );
        let (environment, warnings) = read(&environment(&section));
        assert_eq!(environment.adapters, expected, "{content}");
        assert_eq!((warnings.len(), environment.sections.len()), (warned, 0), "{content} {warnings:?}");
    }
}

#[test]
fn unknown_sections_are_kept_so_that_they_parse_alone() {
    let outer = format!(" xmlns=\"{NAMESPACE}\" xmlns:oe=\"{NAMESPACE}\" xmlns:x=\"urn:x\"");
    let cases = [
        ("<x:S/>", "urn:x", "S", format!("<x:S{outer}/>")),
        ("<Unknown a='1'>t</Unknown>", NAMESPACE, "Unknown", format!("<Unknown{outer} a='1'>t</Unknown>")),
        (
            "<S xmlns='urn:y'><S>&lt;</S><!-- c --></S >",
            "urn:y",
            "S",
            format!(
                "<S{} xmlns='urn:y'><S>&lt;</S><!-- c --></S >",
                &outer[outer.find(" xmlns:oe").unwrap()..]
            ),
        ),
        (
            "<S xmlns=''></S>",
            "",
            "S",
            format!("<S{} xmlns=''></S>", &outer[outer.find(" xmlns:oe").unwrap()..]),
        ),
        (
            "<x:PropertySection><Property oe:key='k' oe:value='s3cr3t'/></x:PropertySection>",
            "urn:x",
            "PropertySection",
            format!("<x:PropertySection{outer}><Property oe:key='k' oe:value='s3cr3t'/></x:PropertySection>"),
        ),
        (
            "<x:S xmlns:x='urn:z' xmlns:oe='urn:o' xmlns:n='urn:n'><n:a/></x:S>",
            "urn:z",
            "S",
            format!(
                "<x:S xmlns=\"{NAMESPACE}\" xmlns:x='urn:z' xmlns:oe='urn:o' xmlns:n='urn:n'><n:a/></x:S>"
            ),
        ),
        (
            "<x:S ovfenv:a='1'/>",
            "urn:x",
            "S",
            format!("<x:S{outer} xmlns:ovfenv=\"{NAMESPACE}\" ovfenv:a='1'/>"),
        ),
    ];
    for (content, namespace, name, xml) in cases {
        let (environment, _) = read(&environment(&format!("\n\n{content}")));
        let [section] = &environment.sections[..] else { panic!("{content}: {:?}", environment.sections) };
        assert_eq!(
            (section.namespace.as_str(), section.name.as_str(), section.line),
            (namespace, name, 3),
            "{content}"
        );
        assert_eq!(*section.xml, xml, "{content}");
        // Alone, it is refused for being no environment, and for nothing else.
        let alone = parse(section.xml.as_bytes()).unwrap_err();
        assert!(matches!(alone.kind, ErrorKind::NotEnvironment(_)), "{alone}: {}", *section.xml);
    }
}

/// Found by the fuzzer: what is added to a section counts as attributes, too.
#[test]
fn a_section_with_as_many_attributes_as_allowed_is_kept() {
    let attributes: String = (0..super::MAX_ATTRIBUTES).map(|it| format!(" a{it}=''")).collect();
    let (environment, _) = read(&environment(&format!("<x:S{attributes}/>")));
    let section = &environment.sections[0];
    assert!(
        section.xml.contains(" a63=''") && section.xml.contains(" xmlns:x=\"urn:x\""),
        "{}",
        *section.xml
    );
    let alone = parse(section.xml.as_bytes()).unwrap_err();
    assert_eq!(alone.kind, ErrorKind::Limit(Limit::Attributes));
}

/// Found by the fuzzer: kept as a section, and with the prefix declared that was missing, this was no XML.
#[test]
fn an_attribute_under_a_prefix_and_again_under_one_taken_for_it_is_there_twice() {
    let error = examine(environment("<x:S oe:a='1' ovfenv:a='2'/>").as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::DuplicateAttribute("…".to_owned()));
}

#[test]
fn inherited_namespaces_are_escaped() {
    let (environment, _) = read(
        &root().replace("urn:x", "a&amp;&lt;&quot;&#10;b").replace("vm\">", "vm\"><x:S/></Environment>"),
    );
    assert_eq!(environment.sections[0].namespace, "a&<\"\nb");
    let alone = parse(environment.sections[0].xml.as_bytes()).unwrap_err();
    assert_eq!(alone.kind, ErrorKind::NotEnvironment("x:S".to_owned()));
    assert!(environment.sections[0].xml.contains("xmlns:x=\"a&amp;&lt;&quot;&#10;b\""));
}

#[test]
fn azures_document_is_told_from_ours() {
    let section = format!(
        "<wa:ProvisioningSection xmlns:wa='{AZURE_NAMESPACE}'>
         <wa:UserPassword>s3cr3t</wa:UserPassword></wa:ProvisioningSection>"
    );
    let property = "<PropertySection><Property oe:key='a' oe:value='s3cr3t'/></PropertySection>";
    let cases = [
        (section.clone(), true),
        (String::new(), false),
        (property.to_owned(), false),
        (format!("{section}{property}"), false),
        (format!("{section}<Entity oe:id='a'/>"), false),
        ("<x:ProvisioningSection/>".to_owned(), false),
        (section.replace("ProvisioningSection", "PlatformSettingsSection"), false),
    ];
    for (content, expected) in cases {
        let (environment, warnings) = read(&environment(&content));
        assert_eq!((environment.is_azure_provisioning(), warnings.len()), (expected, 0), "{content}");
    }
}

#[test]
fn nothing_but_property_values_is_hidden_from_debug() {
    let (whole, _) = read(&properties("<Property oe:key='pass' oe:value='s3cr3t'/>"));
    let shown = format!("{whole:?}");
    assert!(shown.contains("id: \"vm\"") && shown.contains("{\"pass\": Value(..)}"), "{shown}");
    let (environment, _) = read(&environment("<x:S><x:Token>s3cr3t</x:Token></x:S>"));
    assert_eq!(
        format!("{:?}", environment.sections[0]),
        "Section { namespace: \"urn:x\", name: \"S\", line: 1, .. }"
    );
}

#[test]
fn names_in_messages_are_shortened_and_escaped() {
    let key = format!("a&#10;{}", "k".repeat(100));
    let error = parse(properties(&format!("<Property oe:key='{key}'/>")).as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::MissingValue(format!("a\\u{{a}}{}…", "k".repeat(62))));
}

#[test]
fn many_warnings_are_counted() {
    let twice = "<Property oe:key='a' oe:value='s3cr3t'/>\n".repeat(151);
    let (environment, warnings) = read(&properties(&twice));
    assert_eq!((environment.properties.len(), warnings.len()), (1, 101));
    assert_eq!((warnings[99].line, warnings[100].message.as_str()), (101, "50 more warnings are not shown"));
}

#[test]
fn limits_are_refused_by_name_and_reached_without() {
    let nested =
        |depth: usize| environment(&format!("{}{}", "<x:a>".repeat(depth - 1), "</x:a>".repeat(depth - 1)));
    let attributes = |count: usize| {
        let list: String = (0..count).map(|it| format!(" a{it}=''")).collect();
        environment(&format!("<x:a{list}/>"))
    };
    let property = "<Property oe:key='a' oe:value=''/>";
    let adapters = |count: usize| {
        let list = "<v:Adapter v:mac=''/>".repeat(count);
        environment(&format!(
            "<v:EthernetAdapterSection xmlns:v='{}'>{list}</v:EthernetAdapterSection>",
            super::VMWARE_NAMESPACE
        ))
    };
    let siblings = environment(&format!(
        "<Entity oe:id=''><PropertySection>{property}</PropertySection></Entity>\
         <PropertySection>{}</PropertySection>",
        property.repeat(100_000)
    ));
    let large = |size: usize| {
        let (start, end) = (root(), "</Environment>");
        format!("{start}{}{end}", " ".repeat(size - start.len() - end.len()))
    };
    let section = |count: usize| environment(&"<x:a/>".repeat(count));
    let long = root().replace("urn:x", &"u".repeat(100_000));
    let cases = [
        (nested(64), None),
        (nested(65), Some(Limit::Depth)),
        (attributes(64), None),
        (attributes(65), Some(Limit::Attributes)),
        (properties(&property.repeat(100_000)), None),
        (properties(&property.repeat(100_001)), Some(Limit::Properties)),
        (siblings, Some(Limit::Properties)),
        (environment(&"<Entity/>".repeat(100_000)), None),
        (environment(&"<Entity/>".repeat(100_001)), Some(Limit::Entities)),
        (adapters(1_000), None),
        (adapters(1_001), Some(Limit::Adapters)),
        (section(1_000), None),
        (section(1_001), Some(Limit::Sections)),
        (format!("{long}{}</Environment>", "<x:a/>".repeat(80)), None),
        (format!("{long}{}</Environment>", "<x:a/>".repeat(90)), Some(Limit::Sections)),
        (large(super::MAX_DOCUMENT), None),
        (large(super::MAX_DOCUMENT + 1), Some(Limit::Document)),
    ];
    for (document, expected) in cases {
        let found = parse(document.as_bytes()).err();
        let start: String = document.chars().take(300).collect();
        assert_eq!(found.as_ref().map(|it| &it.kind), expected.map(ErrorKind::Limit).as_ref(), "{start}");
        if let Some(error) = found {
            assert!(
                error.to_string().contains(" more than ") || error.to_string().contains("larger than"),
                "{error}"
            );
        }
    }
}
