//! Links of the documentation: each leads to a file that is there, and to a heading of it.

use std::path::{Component, Path, PathBuf};

use crate::markdown::{MANUALS, Page};

/// The lines of a page outside of blocks, each with its number from 0.
fn prose(page: &Page) -> impl Iterator<Item = (usize, &str)> {
    let is_code = |number: usize| {
        page.blocks.iter().any(|block| (block.first..block.first + block.lines.len()).contains(&number))
    };
    page.text.lines().enumerate().filter(move |(number, _)| !is_code(*number))
}

/// What each heading is called in links, as GitHub does it.
fn headings(page: &Page) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (_, line) in prose(page).filter(|(_, line)| line.starts_with('#')) {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let again = found.iter().filter(|it| **it == name).count();
        found.push(if again == 0 { name } else { format!("{name}-{again}") });
    }
    found
}

/// Every target of a link, with the line it is in. A link may be broken over two lines.
fn targets(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(page) {
        for (position, _) in line.match_indices("](") {
            let target = line[position + 2..].split([')', ' ']).next().unwrap_or_default();
            found.push((number, target.to_owned()));
        }
        for part in line.split("src=\"").skip(1) {
            found.push((number, part.split('"').next().unwrap_or_default().to_owned()));
        }
    }
    found
}

/// What is wrong with the links of these pages, and how many there are.
pub(crate) fn broken(top: &Path, pages: &[Page]) -> (Vec<String>, usize) {
    let (mut faults, mut count) = (Vec::new(), 0);
    for page in pages {
        let name = if MANUALS.contains(&page.name.as_str()) { "docs/of the manual" } else { &page.name };
        let directory = Path::new(name).parent().expect("a directory");
        for (line, target) in targets(page) {
            count += 1;
            if target.starts_with("https://") {
                continue;
            }
            let (file, heading) =
                target.split_once('#').map_or((target.as_str(), None), |(f, h)| (f, Some(h)));
            let file = if file.is_empty() { PathBuf::from(&page.name) } else { plain(&directory.join(file)) };
            let to = pages.iter().find(|other| Path::new(&other.name) == file);
            let fault = match (to, heading) {
                _ if !top.join(&file).exists() => Some("no such file"),
                (None, Some(_)) => Some("headings are known of pages alone"),
                (Some(to), Some(heading)) if !headings(to).iter().any(|it| it == heading) => {
                    Some("no such heading")
                }
                _ => None,
            };
            faults.extend(fault.map(|fault| format!("{}: ({target}): {fault}", page.at(line))));
        }
    }
    (faults, count)
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
    }
    plain
}
