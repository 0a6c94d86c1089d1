//! What is wrong with a package: how bad, where, what, and what would mend it.
//!
//! Decides the codes, which are stable and each of one severity, and the two forms in which findings are shown. A message
//! names its operand and the remedy; it never holds the value of a property, not even of one that the descriptor itself
//! gives away.

#![forbid(unsafe_code)]

mod few;

use std::fmt;

use serde_json::json;

pub use few::{Few, MAX_FINDINGS};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The package cannot be deployed as it is written.
    Error,
    /// It can, and something in it is most likely not meant so.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $meaning:literal)*) => {
        /// The kinds of findings. Their names are part of the interface; docs/host.md lists them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $meaning] $variant,)* }

        impl Code {
            /// All of them, in the order of docs/host.md.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// How bad a finding of this kind is.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

codes! {
    Unreadable "unreadable" Error "A file cannot be read, or a program that is needed cannot be run."
    TooLarge "too-large" Error "A descriptor, manifest, certificate or bundle, or something in it, is larger than any real one."
    NoDescriptor "no-descriptor" Error "The archive has no descriptor."
    SeveralDescriptors "several-descriptors" Error "The archive has more than one descriptor."
    DescriptorNotFirst "descriptor-not-first" Warning "The descriptor is not the first file of the archive."
    TarDamaged "tar-damaged" Error "A header of the archive is damaged."
    TarTruncated "tar-truncated" Error "The archive ends inside a file."
    TarNoEnd "tar-no-end" Warning "The archive has no end mark, and may be cut off."
    TarBehindEnd "tar-behind-end" Warning "There is something behind the archive's end."
    TarEntryType "tar-entry-type" Error "An entry of the archive is a link, a device or something else that is no file."
    TarDuplicate "tar-duplicate" Error "Two entries of the archive have the same name."
    ExtraFile "extra-file" Note "A file of the archive belongs to nothing."
    PathTraversal "path-traversal" Error "A path leads out of the package."

    ManifestMissing "manifest-missing" Note "There is no manifest."
    ManifestSyntax "manifest-syntax" Error "A line of the manifest is none."
    ManifestDuplicate "manifest-duplicate" Error "The manifest names a file twice."
    ManifestMissingFile "manifest-missing-file" Error "The manifest names a file that is not there."
    ManifestIncomplete "manifest-incomplete" Warning "A file of the package is not in the manifest."
    DigestMismatch "digest-mismatch" Error "A file is not the one that the manifest was made for."
    DigestWeak "digest-weak" Note "The manifest's digests are SHA-1."
    CertificateSyntax "certificate-syntax" Error "The certificate file is none."
    CertificateWithoutManifest "certificate-without-manifest" Error "There is a certificate, and no manifest that it could sign."
    Unsigned "unsigned" Error "The package, or a file of it, has no signature that could be verified, and one was asked for."
    SignatureInvalid "signature-invalid" Error "The signature is not one of this manifest by this certificate."
    SignatureUnverified "signature-unverified" Warning "There is no `openssl`, which would verify the signature."
    SignerExpired "signer-expired" Warning "The certificate is out of date."
    SignerUnknown "signer-unknown" Note "Nobody said whose signatures are trusted."
    SignerUntrusted "signer-untrusted" Error "The certificate is not one that the named authorities vouch for."

    XmlMalformed "xml-malformed" Error "The file is not well-formed XML."
    XmlEncoding "xml-encoding" Error "The file is not UTF-8."
    XmlDoctype "xml-doctype" Error "The file has a DOCTYPE, which is never read."
    XmlLimit "xml-limit" Error "The file has more elements, attributes or levels than any real one."
    NotAnEnvelope "not-an-envelope" Error "The root element is not an OVF Envelope."
    TooMany "too-many" Error "There are more errors than are shown."
    MoreWarnings "more-warnings" Note "There are more warnings and notes than are shown."
    NamespaceDraft "namespace-draft" Warning "The namespace is the one of a draft."
    NamespaceOld "namespace-old" Note "The namespace is VMware's of OVF 0.9."
    AttributeNamespace "attribute-namespace" Warning "An attribute lacks its namespace prefix; it is read as if it had it."
    UnknownAttribute "unknown-attribute" Warning "OVF has no such attribute."
    UnknownElement "unknown-element" Warning "OVF has no such element, or not there."
    OldAttribute "old-attribute" Warning "An attribute of an old draft; it is read as what it has become."
    MissingAttribute "missing-attribute" Error "A required attribute is missing."
    MissingElement "missing-element" Error "A required element is missing."
    SeveralRoots "several-roots" Error "An Envelope has more than one VirtualSystem or VirtualSystemCollection."
    BadQuantity "bad-quantity" Error "A number of the hardware, of a disk or of a file is none."
    BadValue "bad-value" Error "An attribute or element has a value that it cannot have."
    DuplicateId "duplicate-id" Error "Two things of one kind have the same id."
    SectionMisplaced "section-misplaced" Warning "A section stands where it has no meaning."
    SectionRequired "section-required" Error "An unknown section says that it must be understood."
    SectionUnsupported "section-unsupported" Warning "A known section is not acted upon."
    SectionIgnored "section-ignored" Note "An unknown section is ignored, as it allows."

    FileMissing "file-missing" Error "A referenced file is not in the package."
    FileSize "file-size" Error "A file has another size than the descriptor says."
    FileRemote "file-remote" Note "A file is elsewhere on the network, and not fetched."
    FileScheme "file-scheme" Error "The scheme of a reference is not supported."
    FileCompression "file-compression" Error "A file is compressed in an unknown way."
    FileSame "file-same" Warning "Two references are to one file."
    FileUnused "file-unused" Note "Nothing uses a referenced file."
    DanglingFile "dangling-file" Error "A fileRef or a HostResource names no file."
    DanglingDisk "dangling-disk" Error "A disk is named that there is not."
    DanglingCapacity "dangling-capacity" Error "The capacity of a disk is a property's that there is not."
    DiskCycle "disk-cycle" Error "A chain of parent disks leads in a circle."
    DiskUnused "disk-unused" Note "No virtual machine uses a disk."
    DanglingNetwork "dangling-network" Error "A network is named that there is not."
    DanglingHardware "dangling-hardware" Warning "A device hangs on another that there is not."
    DanglingOption "dangling-option" Error "Hardware is for a deployment option that there is not."
    NoCdrom "no-cdrom" Warning "The environment is to come by ISO, and there is no drive for it."
    TransportUnknown "transport-unknown" Warning "A transport is neither iso nor guestinfo, nor a URI."
    UnitUnknown "unit-unknown" Warning "An allocation unit is not understood."
    DanglingConfiguration "dangling-configuration" Error "A deployment option is named that there is not."
    SeveralDefaults "several-defaults" Error "More than one deployment option is the default."

    PropertyKey "property-key" Note "A key has a dot or colon, which DSP0243 forbids; vSphere does not."
    PropertyTypeForeign "property-type-foreign" Note "A type is not one of DSP0243; it is read as what vendors mean by it."
    PropertyTypeUnknown "property-type-unknown" Error "A type is not known."
    PropertyQualifier "property-qualifier" Warning "A qualifier is not understood, contradicts the type, or asks for what there is not."
    PropertyValue "property-value" Error "A value of a property does not fit its type or qualifiers."
    PropertyUnsettable "property-unsettable" Warning "A property has no value, and nobody may give it one."
    PropertyBlanks "property-blanks" Warning "A value begins or ends with blanks, which are taken off."
    PropertyDuplicate "property-duplicate" Error "Two properties have the same class, key and instance."
    PropertyCollision "property-collision" Warning "Two properties have the same name in the guest."
    PasswordGiven "password-given" Warning "A password is in the descriptor for everybody to read."
    PropertyUnknown "property-unknown" Error "A value was given for a property that there is not, or that several are called."
    PropertyTwice "property-twice" Error "A property was given two values in one place."
    PropertyFixed "property-fixed" Error "A value was given for a property that nobody may set."
    PropertyMissing "property-missing" Error "A property that must not be empty has no value."
    ConfigurationUnknown "configuration-unknown" Error "A deployment option was chosen that there is not."
    EnvironmentSize "environment-size" Warning "An environment is too large for its transport."
    MacroUnknown "macro-unknown" Error "A `${name}` names no property of the parent."
    MacroAmbiguous "macro-ambiguous" Error "A `${name}` names more than one property of the parent."

    DanglingStartup "dangling-startup" Error "A StartupSection names something that the collection has not."
    StartupAction "startup-action" Warning "An action is not one of DSP0243."
    EnvironmentFile "environment-file" Error "A file for the guest has a path that cannot be."
    DanglingContract "dangling-contract" Error "A contract names a virtual machine that there is not."

    LanguageMissing "language-missing" Note "There are no texts in the language that was asked for."
    BundleMalformed "bundle-malformed" Error "A bundle of texts is none."
    BundleLanguage "bundle-language" Note "A file with texts is in another language than the descriptor says."
    MessageDuplicate "message-duplicate" Note "A language has a text twice."
    MessageUnused "message-unused" Note "Nothing uses a translated text."
    MessageMissing "message-missing" Note "A language lacks texts."

    AgentUnknownMachine "agent-unknown-machine" Error "An appliance is named for a virtual machine that there is not."
    AgentUnusable "agent-unusable" Error "An appliance's agent refuses its configuration, or its answer is not understood."
    AgentUnread "agent-unread" Warning "No parameter of the appliance reads a property."
    AgentUnused "agent-unused" Note "A parameter of the appliance that a property feeds is used by nothing in it."
    AgentUnfed "agent-unfed" Warning "No property feeds a parameter of the appliance."
    AgentRequired "agent-required" Error "A parameter that the appliance requires would end up without a value."
    AgentType "agent-type" Warning "The descriptor lets through what the appliance does not take."
    AgentMismatch "agent-mismatch" Error "The appliance takes nothing of what a property can be."
    AgentRefused "agent-refused" Error "The appliance would refuse a value that the descriptor itself gives."
    AgentSecret "agent-secret" Warning "A property and the parameter that reads it differ in secrecy."

    Recipe "recipe" Error "Something in appliance.toml cannot be meant."
}

impl Code {
    /// Whether no environment can be made of a descriptor with this error. Others are of disks, files and
    /// hardware.
    pub fn concerns_environments(self) -> bool {
        use Code as C;
        self.severity() == Severity::Error
            && !matches!(
                self,
                C::ManifestSyntax
                    | C::ManifestDuplicate
                    | C::ManifestMissingFile
                    | C::BadQuantity
                    | C::DanglingOption
                    | C::FileMissing
                    | C::FileSize
                    | C::FileScheme
                    | C::FileCompression
                    | C::DanglingFile
                    | C::DanglingDisk
                    | C::DanglingCapacity
                    | C::DiskCycle
                    | C::DanglingNetwork
                    | C::DanglingStartup
                    | C::BundleMalformed
            )
    }

    /// Whether guests cannot be started while this is so: their environments are wrong, or their order is.
    pub fn concerns_start(self) -> bool {
        self.concerns_environments() || self == Self::DanglingStartup
    }
}

/// A position in a text, counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file that it is in, as it is called in the package.
    pub file: String,
    /// Where in it, if it is a text.
    pub at: Option<At>,
    /// What kind.
    pub code: Code,
    /// What, and what would mend it.
    pub message: String,
}

impl Finding {
    /// A finding about a file as a whole, or about something that is no text.
    pub fn with(file: impl Into<String>, code: Code, message: impl Into<String>) -> Self {
        Self { file: file.into(), at: None, code, message: message.into() }
    }

    /// As `check --json` shows it.
    pub fn json(&self) -> serde_json::Value {
        json!({
            "severity": self.code.severity().as_str(),
            "code": self.code.as_str(),
            "file": self.file,
            "line": self.at.map(|at| at.line),
            "column": self.at.map(|at| at.column),
            "message": self.message,
        })
    }
}

/// In the form that editors jump to.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", printable(&self.file))?;
        if let Some(At { line, column }) = self.at {
            write!(f, "{line}:{column}:")?;
        }
        let severity = self.code.severity().as_str();
        write!(f, " {severity}: {} [{}]", printable(&self.message), self.code.as_str())
    }
}

/// A text from outside on one line, in which nothing moves a cursor or turns the text around it (Unicode TR 36, 2.6).
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_command(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// Whether a character moves a cursor, or turns the text around it.
pub fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// A name from outside, in quotes: at most 80 characters of it.
pub fn quoted(name: &str) -> String {
    match name.char_indices().nth(80) {
        Some((end, _)) => format!("`{}…`", printable(&name[..end])),
        None => format!("`{}`", printable(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{At, Code, Finding, quoted};

    #[test]
    fn codes_have_names_of_their_own() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.'), "{}", code.as_str());
        }
    }

    #[test]
    fn a_finding_is_one_line_whatever_is_in_it() {
        let at = Some(At { line: 3, column: 7 });
        let finding = Finding {
            file: "a\nb.ovf".to_owned(),
            at,
            code: Code::DanglingFile,
            message: "x\u{1b}[2J".to_owned(),
        };
        assert_eq!(finding.to_string(), "a\\u{a}b.ovf:3:7: error: x\\u{1b}[2J [dangling-file]");
        assert_eq!(Finding::with("a.ova", Code::TarNoEnd, "m").to_string(), "a.ova: warning: m [tar-no-end]");
    }

    #[test]
    fn names_are_shortened_and_harmless() {
        assert_eq!(quoted("a\u{202e}b"), "`a\\u{202e}b`");
        assert_eq!(quoted(&"ä".repeat(81)), format!("`{}…`", "ä".repeat(80)));
    }
}
