//! Takes secrets out of a [`Change`] that was read before, maybe by somebody who knew fewer of
//! them, and values out that stand beside a secret.

use super::{
    AttributeChange, Change, CheckFailure, Drifted, Invocation, Line, ResourceChange, Value,
    Warning, json::Json, show::SENSITIVE,
};
use crate::masking::{CUT, MASK, Masker, SHORTEST};
use std::collections::BTreeSet;

impl Change {
    /// Masks every text, also where a secret was cut off, and hides what stands on the other side
    /// of a secret: it is the same thing's value before, or after.
    pub fn hide(&mut self, masker: &Masker) {
        if masker.is_empty() {
            return;
        }
        self.attributes().for_each(|attribute| attribute.mask_across_lines(masker));
        self.mask(&|text| masker.mask_clipped(text));
        self.hide_other_sides(BTreeSet::new());
    }

    /// Where one side of an attribute holds more secrets than the other, hides the other, and its
    /// value wherever else it stands as a whole. `hidden` are such values that are known already.
    pub(super) fn hide_other_sides(&mut self, mut hidden: BTreeSet<String>) {
        self.attributes().for_each(|attribute| attribute.hide_other_side(&mut hidden));
        if !hidden.is_empty() {
            let masker = Masker::of_patterns(hidden);
            self.mask(&|text| masker.mask(text));
        }
    }

    fn attributes(&mut self) -> impl Iterator<Item = &mut AttributeChange> {
        let resources = self.resources.iter_mut().flat_map(|r| &mut r.attributes);
        let invocations = self.invocations.iter_mut().flat_map(|i| &mut i.config);
        resources.chain(invocations).chain(&mut self.outputs)
    }

    fn mask(&mut self, mask: &impl Fn(&str) -> String) {
        let on = |text: &mut String| *text = mask(text);
        // Each field is named: one that is new cannot be forgotten.
        let Self {
            v: _,
            tool: _,
            terraform_version,
            delta: _,
            errored: _,
            partial: _,
            refresh_only: _,
            remarks,
            resources,
            resources_cut: _,
            invocations,
            invocations_cut: _,
            outputs,
            outputs_cut: _,
            unmarked: _,
            drift: _,
            drifted,
            tolerated,
            tolerated_cut: _,
            deferred: _,
            checks,
            checks_cut: _,
            tool_warnings,
            tool_warnings_cut: _,
            modules,
        } = self;
        on(terraform_version);
        remarks.iter_mut().chain(tolerated).for_each(on);
        resources.iter_mut().for_each(|resource| resource.mask(mask));
        for Invocation { address, resource, event, config, config_cut: _ } in invocations {
            on(address);
            resource.iter_mut().chain(event).for_each(on);
            config.iter_mut().for_each(|attribute| attribute.mask(mask));
        }
        outputs.iter_mut().for_each(|output| output.mask(mask));
        for Drifted { address, deposed, gone: _ } in drifted {
            on(address);
            deposed.iter_mut().for_each(on);
        }
        for CheckFailure { address, problems } in checks {
            on(address);
            problems.iter_mut().for_each(on);
        }
        for Warning { summary, place, count: _ } in tool_warnings {
            on(summary);
            place.iter_mut().for_each(on);
        }
        modules.iter_mut().for_each(|module| module.mask(mask));
    }
}

impl ResourceChange {
    fn mask(&mut self, mask: &impl Fn(&str) -> String) {
        let on = |text: &mut String| *text = mask(text);
        let Self {
            address,
            deposed,
            previous_address,
            resource_type,
            provider,
            action: _,
            import_id,
            reason,
            attributes,
            attributes_cut: _,
        } = self;
        [address, resource_type, provider].into_iter().for_each(on);
        let others = [deposed, previous_address, import_id, reason];
        others.into_iter().flatten().for_each(on);
        attributes.iter_mut().for_each(|attribute| attribute.mask(mask));
    }
}

impl AttributeChange {
    fn mask(&mut self, mask: &impl Fn(&str) -> String) {
        let Self { path, before, after, forces_replacement: _, mark: _, lines } = self;
        *path = mask(path);
        for value in [before, after] {
            match value {
                Value::Known(text) => *text = mask(text),
                // That it is cut is said beside it.
                Value::Truncated(text, _) => {
                    let masked = mask(&format!("{text}…"));
                    *text = masked.strip_suffix('…').unwrap_or(&masked).to_owned();
                }
                Value::Part(_, text, rest) => {
                    let end = if *rest > 0 { "…" } else { "" };
                    let masked = mask(&format!("{CUT}{text}{end}"));
                    let masked = masked.strip_prefix(CUT).unwrap_or(&masked);
                    *text = masked.strip_suffix(end).unwrap_or(masked).to_owned();
                }
                _ => {}
            }
        }
        lines.iter_mut().filter_map(Line::text_mut).for_each(|text| *text = mask(text));
    }

    /// Hides the lines over which a secret of several lines goes, on either side.
    fn mask_across_lines(&mut self, masker: &Masker) {
        let mut hidden = BTreeSet::new();
        for other in [Line::is_added, Line::is_removed] {
            let (mut text, mut starts) = (String::new(), Vec::new());
            for (at, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| !other(line)) {
                starts.push((text.len(), at));
                // What was left out between two lines is part of no secret.
                text.push_str(line.text_mut().map_or("\0", |text| text.as_str()));
                text.push('\n');
            }
            for (start, end) in masker.regions(&text) {
                let first = starts.partition_point(|(begin, _)| *begin <= start);
                let last = starts.partition_point(|(begin, _)| *begin < end);
                if last > first {
                    hidden.extend(starts[first - 1..last].iter().map(|(_, at)| *at));
                }
            }
        }
        for at in hidden {
            if let Some(text) = self.lines[at].text_mut() {
                *text = MASK.to_owned();
            }
        }
    }

    fn hide_other_side(&mut self, hidden: &mut BTreeSet<String>) {
        let (before, after) = (secrets_in(&self.before), secrets_in(&self.after));
        if before != after {
            let less = if before < after { &mut self.before } else { &mut self.after };
            if let Value::Known(text) | Value::Truncated(text, _) | Value::Part(_, text, _) = less {
                collect_values(text, hidden);
                *less = Value::Sensitive;
            }
        }
        for hunk in self.lines.chunk_by_mut(|a, b| a.is_changed() && b.is_changed()) {
            let count = |is: fn(&Line) -> bool| -> usize {
                hunk.iter().filter(|line| is(line)).filter_map(Line::text).map(masks).sum()
            };
            let (removed, added) = (count(Line::is_removed), count(Line::is_added));
            let less = match removed.cmp(&added) {
                std::cmp::Ordering::Less => Line::is_removed,
                std::cmp::Ordering::Greater => Line::is_added,
                std::cmp::Ordering::Equal => continue,
            };
            for text in hunk.iter_mut().filter(|line| less(line)).filter_map(Line::text_mut) {
                *text = SENSITIVE.to_owned();
            }
        }
    }
}

impl Line {
    fn is_removed(&self) -> bool {
        matches!(self, Self::Removed(_))
    }

    fn is_added(&self) -> bool {
        matches!(self, Self::Added(_))
    }

    fn is_changed(&self) -> bool {
        self.is_removed() || self.is_added()
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Same(text) | Self::Removed(text) | Self::Added(text) => Some(text),
            Self::Skipped(_) | Self::Cut(_) => None,
        }
    }

    fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Same(text) | Self::Removed(text) | Self::Added(text) => Some(text),
            Self::Skipped(_) | Self::Cut(_) => None,
        }
    }
}

pub(super) fn masks(text: &str) -> usize {
    text.matches(MASK).count()
}

/// How many secrets a value holds; what is hidden as a whole holds more than any text.
pub(super) fn secrets_in(value: &Value) -> usize {
    match value {
        Value::Known(text) | Value::Truncated(text, _) | Value::Part(_, text, _) => masks(text),
        Value::Sensitive => usize::MAX,
        Value::Absent | Value::Unknown | Value::Lines(_) => 0,
    }
}

/// The texts of a value, each in its quotes: a value is looked for that is the same, not one that
/// holds the same word.
pub(super) fn collect_values(shown: &str, into: &mut BTreeSet<String>) {
    let Ok(value) = serde_json::from_str::<Json>(shown) else { return };
    let mut open = vec![&value];
    while let Some(value) = open.pop() {
        match value {
            Json::String(text) if text.chars().count() >= SHORTEST && !text.contains(MASK) => {
                let quoted = value.to_string();
                // Also in a document that is a text itself.
                let inside = Json::from(quoted.as_str()).to_string();
                into.insert(inside[1..inside.len() - 1].to_owned());
                into.insert(quoted);
            }
            Json::Array(items) => open.extend(items),
            Json::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
}
