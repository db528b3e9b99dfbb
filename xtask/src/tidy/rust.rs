//! Rules about Rust files: a header, sizes of files and functions, printing.
//!
//! The files are parsed, not matched by pattern, so a brace in a string moves nothing.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::ratchet::{Size, Sizes};
use super::{Finding, Source};

/// Macros that write to a terminal. Only a face talks to a person; everything below returns what it has to say.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];
const MAY_PRINT: &[&str] = &["crates/syncline-cli/", "crates/syncline-sim/src/main.rs", "xtask/"];

/// Applies the rules; returns the sizes of production code for the ratchet, and what is wrong.
pub(super) fn check(sources: &[Source]) -> (Sizes, Vec<Finding>) {
    let mut sizes = Sizes::new();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.is_rust()) {
        let Some(text) = source.text.as_deref() else { continue };
        if !source.is_production_rust() {
            continue;
        }
        let file = match syn::parse_file(text) {
            Ok(file) => file,
            Err(error) => {
                findings.push(Finding::new(&source.path, format!("is not Rust that can be parsed: {error}")));
                continue;
            }
        };
        if !text.starts_with("//!") {
            findings.push(Finding::new(
                &source.path,
                "has no module header: start with `//!` what it is for, what state it owns, what survives a crash",
            ));
        }
        let mut walk =
            Walk { path: &source.path, inside: Vec::new(), in_test: 0, sizes: Vec::new(), findings: Vec::new() };
        walk.visit_file(&file);
        sizes.push(Size::file(&source.path, text.lines().count()));
        sizes.append(&mut walk.sizes);
        findings.append(&mut walk.findings);
    }
    (sizes, findings)
}

struct Walk<'a> {
    path: &'a str,
    /// Names of the types and functions around the current place, outermost first.
    inside: Vec<String>,
    /// How many test modules or test functions are around the current place.
    in_test: usize,
    sizes: Sizes,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    fn function(&mut self, name: &syn::Ident, span: proc_macro2::Span) {
        if self.in_test == 0 {
            let lines = span.end().line - span.start().line + 1;
            self.inside.push(name.to_string());
            self.sizes.push(Size::function(self.path, &self.inside.join("::"), lines));
            self.inside.pop();
        }
    }

    fn within(&mut self, name: String, attributes: &[syn::Attribute], walk: impl FnOnce(&mut Self)) {
        let test = usize::from(attributes.iter().any(is_test));
        self.in_test += test;
        self.inside.push(name);
        walk(self);
        self.inside.pop();
        self.in_test -= test;
    }
}

impl<'ast> Visit<'ast> for Walk<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.within(item.ident.to_string(), &item.attrs, |walk| visit::visit_item_mod(walk, item));
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|s| s.ident.to_string()),
            _ => None,
        };
        self.within(name.unwrap_or_else(|| "impl".to_owned()), &item.attrs, |walk| visit::visit_item_impl(walk, item));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.within(item.ident.to_string(), &item.attrs, |walk| visit::visit_item_trait(walk, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !item.attrs.iter().any(is_test) {
            self.function(&item.sig.ident, item.block.span());
        }
        self.within(item.sig.ident.to_string(), &item.attrs, |walk| visit::visit_item_fn(walk, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig.ident, item.block.span());
        self.within(item.sig.ident.to_string(), &item.attrs, |walk| visit::visit_impl_item_fn(walk, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.function(&item.sig.ident, body.span());
        }
        self.within(item.sig.ident.to_string(), &item.attrs, |walk| visit::visit_trait_item_fn(walk, item));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let prints = call.path.segments.last().is_some_and(|s| PRINTING.iter().any(|name| s.ident == name));
        let may = MAY_PRINT.iter().any(|place| self.path.starts_with(place)) || self.path.contains("/examples/");
        if prints && self.in_test == 0 && !may {
            let place = format!("{}:{}", self.path, call.span().start().line);
            self.findings.push(Finding::new(place, "prints: only the command line and chores talk to a terminal"));
        }
        visit::visit_macro(self, call);
    }
}

fn is_test(attribute: &syn::Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
}
