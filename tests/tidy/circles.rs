//! Modules of a crate don't import each other in circles.
//!
//! A circle hides which module is the lower one: none of its files can be understood, moved or
//! tested alone. What two modules share belongs into a module below both.
//!
//! Module `a` depends on module `b` if `a` names an item that `b` defines. Re-exports are followed
//! to the definition, so a folder's `mod.rs` may hand on what its files define. Tests don't count.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

use crate::tree;

/// Source folders of our crates; each is a module graph of its own.
const CRATES: [&str; 12] = [
    "control-plane/domain/src",
    "control-plane/src",
    "executor/engine/src",
    "executor/src",
    "migrations/src",
    "proto/src",
    "sdk/cli/src",
    "sdk/kit/src",
    "sdk/plan/src",
    "sdk/rust/src",
    "tests/benches",
    "tests/src",
];

/// A module's path in its crate; empty for the crate's root.
type ModulePath = Vec<String>;

/// The module graph of one crate.
#[derive(Default)]
struct ModuleGraph {
    modules: BTreeMap<ModulePath, ModuleUses>,
}

/// The paths that one module mentions, resolved to paths from the crate's root.
#[derive(Default)]
struct ModuleUses {
    /// Items of other modules that the module names.
    names: BTreeSet<Vec<String>>,
    /// Re-exports: the name under which an item is handed on, and its path.
    re_exports: BTreeMap<String, Vec<String>>,
}

impl ModuleGraph {
    /// Reads files given as path below the source folder and content.
    fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut graph = Self::default();
        for (name, text) in files {
            let module = module_path(name);
            let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut collector = PathCollector::new(&module);
            collector.visit_file(&file);
            let found = collector.finish();
            // A crate with both a library and a program has two roots; they share one node.
            let uses = graph.modules.entry(module.clone()).or_default();
            uses.names.extend(found.names);
            uses.re_exports.extend(found.re_exports);
        }
        graph
    }

    /// Returns the modules that each module depends on.
    fn edges(&self) -> BTreeMap<&ModulePath, BTreeSet<&ModulePath>> {
        let depends_on = |(module, uses): (&ModulePath, &ModuleUses)| {
            uses.names
                .iter()
                .filter_map(|path| self.definition(path))
                .filter(|found| *found != module)
                .collect()
        };
        self.modules.iter().map(|(module, uses)| (module, depends_on((module, uses)))).collect()
    }

    /// Returns the module that defines the item at a path; none for a path to a module itself, or
    /// out of the crate.
    fn definition(&self, path: &[String]) -> Option<&ModulePath> {
        let mut path = path.to_vec();
        // Re-exports of re-exports; the bound ends a circle among them.
        for _ in 0..16 {
            let length = (0..=path.len()).rev().find(|length| self.modules.contains_key(&path[..*length]))?;
            let (module, uses) = self.modules.get_key_value(&path[..length])?;
            let item = path.get(length)?;
            match uses.re_exports.get(item) {
                Some(origin) => path = origin.iter().chain(&path[length + 1..]).cloned().collect(),
                None => return Some(module),
            }
        }
        None
    }

    /// Returns every set of modules that depend on each other.
    fn circles(&self) -> Vec<BTreeSet<&ModulePath>> {
        let edges = self.edges();
        let reachable: BTreeMap<_, _> = edges.keys().map(|from| (*from, reachable(&edges, from))).collect();
        let mut circles = BTreeSet::new();
        for from in edges.keys() {
            let circle: BTreeSet<&ModulePath> =
                reachable[from].iter().copied().filter(|to| reachable[to].contains(from)).collect();
            if !circle.is_empty() {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }
}

fn reachable<'a>(
    edges: &BTreeMap<&'a ModulePath, BTreeSet<&'a ModulePath>>,
    from: &ModulePath,
) -> BTreeSet<&'a ModulePath> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&ModulePath> = edges[from].iter().copied().collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(&edges[module]);
        }
    }
    found
}

/// `store/fleet/mod.rs` and `store/fleet.rs` are `store::fleet`; `lib.rs` and `main.rs` are the
/// root.
fn module_path(name: &str) -> ModulePath {
    let mut parts: ModulePath = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// Collects the paths into the crate that a file mentions.
struct PathCollector<'a> {
    module: &'a [String],
    /// Private imports: the name in this file, and the path from the crate's root.
    imports: BTreeMap<String, Vec<String>>,
    re_exports: BTreeMap<String, Vec<String>>,
    /// Paths of two and more segments in code, as written.
    paths: BTreeSet<Vec<String>>,
}

impl<'a> PathCollector<'a> {
    fn new(module: &'a [String]) -> Self {
        Self { module, imports: BTreeMap::new(), re_exports: BTreeMap::new(), paths: BTreeSet::new() }
    }

    /// Resolves what was collected. Imports may follow their use in a file, so this comes last.
    fn finish(self) -> ModuleUses {
        let mut names: BTreeSet<Vec<String>> = self.imports.values().cloned().collect();
        for path in &self.paths {
            match self.imports.get(&path[0]) {
                Some(origin) => names.insert([origin.as_slice(), &path[1..]].concat()),
                None => self.resolve(path).is_some_and(|path| names.insert(path)),
            };
        }
        ModuleUses { names, re_exports: self.re_exports }
    }

    /// Resolves a path as written to one from the crate's root; none if it leads out of the crate.
    fn resolve(&self, written: &[String]) -> Option<Vec<String>> {
        let (first, rest) = written.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([self.module, rest].concat()),
            "super" => {
                let levels = written.iter().take_while(|segment| *segment == "super").count();
                let kept = self.module.len().checked_sub(levels)?;
                Some([&self.module[..kept], &written[levels..]].concat())
            }
            // A child module, or a name from elsewhere: then `definition` ends at this module
            // itself.
            _ => Some([self.module, written].concat()),
        }
    }

    fn add_use(&mut self, tree: &UseTree, mut prefix: Vec<String>, handed_on: bool) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_use(&path.tree, prefix, handed_on);
            }
            UseTree::Group(group) => {
                for item in &group.items {
                    self.add_use(item, prefix.clone(), handed_on);
                }
            }
            UseTree::Name(name) => {
                let name = name.ident.to_string();
                if name != "self" {
                    prefix.push(name.clone());
                }
                self.add_name(&prefix, name, handed_on);
            }
            UseTree::Rename(rename) => {
                prefix.push(rename.ident.to_string());
                self.add_name(&prefix, rename.rename.to_string(), handed_on);
            }
            // A glob names all of a module; `*` is an item that only that module defines.
            UseTree::Glob(_) => {
                prefix.push("*".to_owned());
                self.add_name(&prefix, "*".to_owned(), handed_on);
            }
        }
    }

    fn add_name(&mut self, written: &[String], name: String, handed_on: bool) {
        let Some(path) = self.resolve(written) else { return };
        if handed_on {
            self.re_exports.insert(name, path);
        } else {
            self.imports.insert(name, path);
        }
    }
}

impl<'ast> Visit<'ast> for PathCollector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Use(found) => {
                if !is_for_tests(&found.attrs) {
                    let handed_on = !matches!(found.vis, Visibility::Inherited);
                    self.add_use(&found.tree, Vec::new(), handed_on);
                }
            }
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    // `pub(in crate::a)` is no use of `a`.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}

#[test]
fn modules_do_not_import_each_other_in_circles() {
    let files = tree::texts();
    let mut found = Vec::new();
    for folder in CRATES {
        let prefix = format!("{folder}/");
        let sources: Vec<(&str, &str)> = files
            .iter()
            .filter_map(|file| Some((file.name.strip_prefix(&prefix)?, file.text.as_str())))
            .filter(|(name, _)| {
                name.ends_with(".rs") && !name.ends_with("tests.rs") && !name.contains("tests/")
            })
            .collect();
        assert!(!sources.is_empty(), "{folder} has no sources");
        let graph = ModuleGraph::read(sources);
        let edges = graph.edges();
        for circle in graph.circles() {
            found.push(format!("{folder}: {}", describe(&circle, &edges)));
        }
    }
    assert!(found.is_empty(), "circles of imports:\n{}", found.join("\n"));
}

fn describe(circle: &BTreeSet<&ModulePath>, edges: &BTreeMap<&ModulePath, BTreeSet<&ModulePath>>) -> String {
    let name = |module: &ModulePath| if module.is_empty() { "(root)".to_owned() } else { module.join("::") };
    let arrows = circle.iter().map(|from| {
        let to: Vec<String> = edges[from].intersection(circle).map(|to| name(to)).collect();
        format!("\n    {} -> {}", name(from), to.join(", "))
    });
    format!("{} modules{}", circle.len(), arrows.collect::<String>())
}

#[test]
fn circle_through_a_re_export_is_found() {
    let graph = ModuleGraph::read([
        ("lib.rs", "mod lease; mod worker; pub use worker::Worker;"),
        ("lease.rs", "use crate::Worker; pub struct Lease(Worker);"),
        ("worker/mod.rs", "mod slots; pub use self::slots::Slots; pub struct Worker;"),
        ("worker/slots.rs", "pub struct Slots; fn take() { let _: crate::lease::Lease; }"),
    ]);
    assert_eq!(graph.circles(), Vec::<BTreeSet<_>>::new(), "slots -> lease -> worker is a line");
    let graph = ModuleGraph::read([
        ("a/mod.rs", "mod b; pub use self::b::B; pub struct A;"),
        ("a/b.rs", "use super::A; use crate::c; pub struct B(A, c::C);"),
        ("c.rs", "use crate::a::B; pub struct C;"),
    ]);
    let circle: Vec<String> = graph.circles()[0].iter().map(|module| module.join("::")).collect();
    assert_eq!(circle, ["a::b", "c"]);
}

#[test]
fn uses_in_tests_do_not_make_a_circle() {
    let graph = ModuleGraph::read([
        ("a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }"),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert!(graph.circles().is_empty());
}
