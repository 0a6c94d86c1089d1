//! ProductSections, as they are written.
//!
//! Decides that there is one for each class of keys, and in which of them it is said what the appliance is.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::properties::{Property, key, split};
use crate::document::escaped;

/// The ProductSections of these properties, one for each class. What the appliance is, is said in the first of them, for
/// readers who know of one alone (COT).
pub(super) fn sections(
    info: &str,
    properties: &[Property],
    product: &[(&str, &Option<String>)],
    out: &mut String,
) {
    let mut classes: BTreeMap<&str, Vec<&Property>> = BTreeMap::new();
    for property in properties {
        classes.entry(split(&property.name).0).or_default().push(property);
    }
    let mut product: Vec<_> =
        product.iter().filter_map(|(name, text)| Some((*name, text.as_ref()?))).collect();
    if classes.is_empty() && !product.is_empty() {
        classes.insert("", Vec::new());
    }
    for (class, properties) in classes {
        let attribute =
            if class.is_empty() { String::new() } else { format!(" ovf:class=\"{}\"", escaped(class)) };
        out.push_str(&format!("    <ProductSection{attribute}>\n      <Info>{}</Info>\n", escaped(info)));
        for (element, text) in std::mem::take(&mut product) {
            out.push_str(&format!("      <{element}>{}</{element}>\n", escaped(text)));
        }
        properties.iter().for_each(|it| it.write(out));
        out.push_str("    </ProductSection>\n");
    }
}

impl Property {
    fn write(&self, out: &mut String) {
        out.push_str("      <Property");
        let truth = |truth: bool| if truth { "true" } else { "" };
        for (name, text) in [
            ("key", key(&self.name)),
            ("type", &self.kind),
            ("qualifiers", &self.qualifiers),
            ("userConfigurable", truth(self.is_configurable)),
            ("password", truth(self.is_password)),
            ("value", self.value.as_deref().unwrap_or_default()),
        ] {
            if !text.is_empty() || (name == "value" && self.value.is_some()) {
                out.push_str(&format!(" ovf:{name}=\"{}\"", escaped(text)));
            }
        }
        if !self.asks.is_empty() {
            out.push_str(&format!(" vmw:qualifiers=\"{}\"", escaped(&self.asks)));
        }
        out.push_str(">\n");
        for (element, text) in [("Label", &self.label), ("Description", &self.description)] {
            if let Some(text) = text {
                out.push_str(&format!("        <{element}>{}</{element}>\n", escaped(text)));
            }
        }
        for (option, value) in &self.values {
            let (option, value) = (escaped(option), escaped(value));
            out.push_str(&format!("        <Value ovf:value=\"{value}\" ovf:configuration=\"{option}\"/>\n"));
        }
        out.push_str("      </Property>\n");
    }
}
