//! What a plan found, as a page shows it: filtered, a part at a time, values unfolded on demand.

use gantry_domain::{
    plan::{
        Action, AttributeChange, Change, Invocation, Line, MarkChange, ResourceChange, Value,
        module_of,
    },
    text::{
        PARTIAL_PLAN, change, clean, clean_line, counted, grouped, more, visible, visible_line,
    },
};
use serde::Deserialize;
use std::collections::HashMap;

/// Resources that are named where they were changed outside of the tool.
const NAMED_DRIFT: usize = 20;
/// Resources on one page.
const A_PAGE: usize = 100;

/// Which part of a change is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Filter {
    pub(super) action: Option<String>,
    pub(super) text: Option<String>,
    /// `module` puts the resources of a module together.
    pub(super) group: Option<String>,
    pub(super) page: Option<usize>,
}

/// A part of a change.
pub(super) struct ChangeView {
    /// `create`, how many are to be added, whether it is the one that is chosen.
    pub(super) actions: Vec<ActionOption>,
    pub(super) text: String,
    /// The resources: all together, or those of each module.
    pub(super) groups: Vec<Group>,
    /// It has several resources: there is something to search.
    pub(super) is_many: bool,
    /// Several modules have resources in it.
    pub(super) is_modular: bool,
    pub(super) is_grouped: bool,
    /// Actions that would be invoked.
    pub(super) invocations: Vec<ResourceView>,
    pub(super) outputs: Vec<RowView>,
    /// What is to be said beside: drift, what was cut, failing checks.
    pub(super) remarks: Vec<String>,
    /// What the tool warned of: how often, and each once.
    pub(super) warned: Option<String>,
    pub(super) warnings: Vec<String>,
    /// How many of the resources there are here; none where the plan has none.
    pub(super) found: Option<String>,
    pub(super) previous: Option<usize>,
    pub(super) next: Option<usize>,
}

/// Resources that are shown together.
pub(super) struct Group {
    /// Their module, and what happens in it; none where all are together.
    pub(super) module: Option<(String, String)>,
    pub(super) resources: Vec<ResourceView>,
}

pub(super) struct ActionOption {
    pub(super) value: &'static str,
    pub(super) name: String,
    pub(super) chosen: bool,
}

pub(super) struct ResourceView {
    pub(super) address: String,
    /// The address as the tool takes it.
    pub(super) target: String,
    pub(super) class: &'static str,
    pub(super) glyph: &'static str,
    pub(super) what: String,
    pub(super) rows: Vec<RowView>,
    pub(super) cut: Option<String>,
}

pub(super) struct RowView {
    pub(super) path: String,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) forces: bool,
    /// What becomes of its mark as sensitive.
    pub(super) mark: Option<&'static str>,
    pub(super) lines: Vec<LineView>,
}

pub(super) struct LineView {
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// An action's word in addresses, its class, its sign, and what is said behind a number.
pub(super) fn action(action: Action) -> (&'static str, &'static str, &'static str, &'static str) {
    match action {
        Action::Create => ("create", "add", "+", "to add"),
        Action::Update => ("update", "change", "~", "to change"),
        Action::Delete => ("delete", "destroy", "−", "to destroy"),
        Action::Replace { .. } => ("replace", "destroy", "±", "to replace"),
        Action::ReplaceAndForget => ("replace", "destroy", "±", "to replace"),
        Action::Read => ("read", "quiet", "←", "to read"),
        Action::Import => ("import", "add", "↓", "to import"),
        Action::Move => ("move", "quiet", "→", "to move"),
        Action::Forget => ("forget", "quiet", "·", "to forget"),
        Action::Other => ("other", "quiet", "?", "other"),
    }
}

impl ChangeView {
    pub(super) fn of(change: &Change, filter: &Filter) -> Self {
        let wanted_action = filter.action.as_deref().filter(|action| !action.is_empty());
        let text = filter.text.as_deref().unwrap_or_default().trim().to_lowercase();
        let mut sorted: Vec<&ResourceChange> = change.resources.iter().collect();
        sorted.sort_by_key(|resource| resource.action.rank());
        let is_grouped = filter.group.as_deref() == Some("module");
        let mut matches: Vec<&ResourceChange> = sorted
            .into_iter()
            .filter(|r| wanted_action.is_none_or(|wanted| action(r.action).0 == wanted))
            .filter(|r| text.is_empty() || holds(r, &text))
            .collect();
        if is_grouped {
            matches = by_module(matches);
        }
        let page = filter.page.unwrap_or(0).min(matches.len().saturating_sub(1) / A_PAGE);
        let shown: Vec<_> = matches.iter().copied().skip(page * A_PAGE).take(A_PAGE).collect();
        // They have no action of a resource, and stand on the first page.
        let others = wanted_action.is_none() && page == 0;
        let outputs =
            change.outputs.iter().filter(|output| others && attribute_holds(output, &text));
        let invocations = change.invocations.iter().filter(|one| others && is_invoked(one, &text));
        Self {
            actions: actions(change, wanted_action),
            text: filter.text.clone().unwrap_or_default(),
            groups: match is_grouped {
                true => groups(change, &shown, &matches),
                false => vec![Group { module: None, resources: views(change, &shown) }],
            },
            is_many: change.resources.len() > 1,
            is_modular: is_modular(change),
            is_grouped,
            invocations: invocations.map(invocation_view).collect(),
            outputs: outputs.map(row).collect(),
            remarks: remarks(change),
            warned: warned(change),
            warnings: warnings(change),
            found: (!change.resources.is_empty()).then(|| found(&matches, &change.resources, page)),
            previous: page.checked_sub(1),
            next: (matches.len() > (page + 1) * A_PAGE).then_some(page + 1),
        }
    }
}

/// The same resources, those of a module together: first the module whose resources come first.
fn by_module(mut resources: Vec<&ResourceChange>) -> Vec<&ResourceChange> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for resource in &resources {
        let next = places.len();
        places.entry(module_of(&resource.address)).or_insert(next);
    }
    resources.sort_by_key(|resource| places.get(module_of(&resource.address)).copied());
    resources
}

/// The resources of a page by their modules, each with what happens in all of it.
fn groups(change: &Change, shown: &[&ResourceChange], all: &[&ResourceChange]) -> Vec<Group> {
    let module = |resource: &&ResourceChange| module_of(&resource.address).to_owned();
    let group = |resources: &[&ResourceChange]| {
        let name = resources.first().map(module).unwrap_or_default();
        let of_module = all.iter().copied().filter(|one| module_of(&one.address) == name);
        let counts = counts(change, of_module);
        let counts: Vec<String> =
            counts.iter().map(|(_, what, count)| format!("{} {what}", grouped(*count))).collect();
        let title = match name.as_str() {
            "" => "Root module".to_owned(),
            name => clean(&change::address(name)),
        };
        Group { module: Some((title, counts.join(", "))), resources: views(change, resources) }
    };
    shown
        .chunk_by(|one, next| module_of(&one.address) == module_of(&next.address))
        .map(group)
        .collect()
}

fn views(change: &Change, resources: &[&ResourceChange]) -> Vec<ResourceView> {
    resources.iter().map(|resource| resource_view(change, resource)).collect()
}

fn is_modular(change: &Change) -> bool {
    let mut modules = change.resources.iter().map(|resource| module_of(&resource.address));
    let first = modules.next();
    modules.any(|module| Some(module) != first)
}

/// The text, in lower case, is in what is shown of the resource.
fn holds(resource: &ResourceChange, text: &str) -> bool {
    resource.title().to_lowercase().contains(text)
        || resource.attributes.iter().any(|attribute| attribute_holds(attribute, text))
}

fn is_invoked(invocation: &Invocation, text: &str) -> bool {
    invocation.address.to_lowercase().contains(text)
        || invocation.config.iter().any(|attribute| attribute_holds(attribute, text))
}

fn attribute_holds(attribute: &AttributeChange, text: &str) -> bool {
    attribute.path.to_lowercase().contains(text)
        || [&attribute.before, &attribute.after].into_iter().any(|side| value_holds(side, text))
        || attribute.lines.iter().any(|line| match line {
            Line::Same(line) | Line::Removed(line) | Line::Added(line) => {
                line.to_lowercase().contains(text)
            }
            Line::Skipped(_) | Line::Cut(_) => false,
        })
}

/// What stands in place of a value is no part of it: nobody finds one that is hidden.
fn value_holds(value: &Value, text: &str) -> bool {
    match value {
        Value::Known(value) | Value::Truncated(value, _) | Value::Part(_, value, _) => {
            value.to_lowercase().contains(text)
        }
        Value::Absent | Value::Sensitive | Value::Unknown | Value::Lines(_) => false,
    }
}

/// How many resources each action has: its word in addresses, what is said behind the number.
fn counts<'a>(
    change: &Change,
    resources: impl Iterator<Item = &'a ResourceChange>,
) -> Vec<(&'static str, &'static str, usize)> {
    let mut counts: Vec<(&'static str, &'static str, usize)> = Vec::new();
    for resource in resources {
        let (value, _, _, name) = action(resource.action);
        // What a plan that only refreshes finds was done by somebody.
        let name = match resource.action {
            Action::Update if change.refresh_only => "changed",
            Action::Delete if change.refresh_only => "deleted",
            _ => name,
        };
        match counts.iter_mut().find(|(known, ..)| *known == value) {
            Some((.., count)) => *count += 1,
            None => counts.push((value, name, 1)),
        }
    }
    counts
}

fn actions(change: &Change, wanted: Option<&str>) -> Vec<ActionOption> {
    counts(change, change.resources.iter())
        .into_iter()
        .map(|(value, name, count)| ActionOption {
            value,
            name: format!("{} {name}", grouped(count)),
            chosen: wanted == Some(value),
        })
        .collect()
}

fn found(matches: &[&ResourceChange], all: &[ResourceChange], page: usize) -> String {
    let from = page * A_PAGE + 1;
    let to = (from + A_PAGE - 1).min(matches.len());
    match matches.len() {
        0 => format!("No matches in {}.", how_many(all.iter())),
        count if count <= A_PAGE => how_many(matches.iter().copied()),
        _ => format!("{from} to {to} of {}", how_many(matches.iter().copied())),
    }
}

/// `2 resources and 1 data source`: what is only read changes nothing.
fn how_many<'a>(resources: impl Iterator<Item = &'a ResourceChange>) -> String {
    let (read, changed): (Vec<_>, Vec<_>) =
        resources.partition(|resource| resource.action == Action::Read);
    match (changed.len(), read.len()) {
        (changed, 0) => counted(changed, "resource"),
        (0, read) => counted(read, "data source"),
        (changed, read) => {
            format!("{} and {}", counted(changed, "resource"), counted(read, "data source"))
        }
    }
}

fn remarks(change: &Change) -> Vec<String> {
    let mut remarks = Vec::new();
    if change.errored {
        remarks.push("The plan is incomplete, because an error ended it.".to_owned());
    }
    if change.partial {
        remarks.push(PARTIAL_PLAN.to_owned());
    }
    remarks.extend(change.warnings().iter().map(|warning| clean_line(warning, 1000)));
    if change.resources_cut > 0 {
        remarks.push(format!("{}, not listed.", more(change.resources_cut as usize, "resource")));
    }
    if change.drift > 0 {
        remarks.push(drift(change));
    }
    if !change.tolerated.is_empty() {
        remarks.push(tolerated(change));
    }
    let cut = [
        (change.invocations_cut, "invoked action"),
        (change.outputs_cut, "output"),
        (change.checks_cut, "failed check"),
    ];
    for (cut, noun) in cut.into_iter().filter(|(cut, _)| *cut > 0) {
        remarks.push(format!("{}, not listed.", more(cut as usize, noun)));
    }
    if change.deferred > 0 {
        let deferred = counted(change.deferred as usize, "change");
        remarks.push(format!("{deferred} deferred to a later plan."));
    }
    for check in &change.checks {
        let problems = visible(&check.problems.join("; ")).into_owned();
        let address = change::address(&check.address);
        remarks.push(clean_line(&format!("{address} failed: {problems}"), 1000));
    }
    remarks
}

fn warned(change: &Change) -> Option<String> {
    let count = change.tool_warned() as usize;
    (count > 0).then(|| format!("{} in the plan", counted(count, "warning")))
}

fn warnings(change: &Change) -> Vec<String> {
    let listed = change.tool_warnings.iter();
    let mut warnings: Vec<String> =
        listed.map(|warning| clean_line(&warning.text(), 700)).collect();
    if change.tool_warnings_cut > 0 {
        warnings
            .push(format!("{}: see the log", more(change.tool_warnings_cut as usize, "warning")));
    }
    warnings
}

/// What was changed outside of the tool, the first by name.
fn drift(change: &Change) -> String {
    let named: Vec<String> =
        change.drifted.iter().take(NAMED_DRIFT).map(|d| clean_line(&d.text(), 200)).collect();
    let rest = (change.drift as usize).saturating_sub(named.len());
    let rest = (rest > 0 && !named.is_empty()).then(|| format!("{} more", grouped(rest)));
    let names: Vec<String> = named.into_iter().chain(rest).collect();
    let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
    let count = counted(change.drift as usize, "resource");
    format!("{count} changed outside {}{names}.", change.tool.name())
}

/// What differs and may, the first by name.
fn tolerated(change: &Change) -> String {
    let all = change.tolerated.len().saturating_add(change.tolerated_cut as usize);
    let named = change.tolerated.iter().take(NAMED_DRIFT);
    let mut names: Vec<String> = named.map(|name| clean(&change::address(name))).collect();
    let rest = all.saturating_sub(names.len());
    names.extend((rest > 0).then(|| format!("{} more", grouped(rest))));
    format!("{} tolerated: {}.", counted(all, "difference"), names.join(", "))
}

fn invocation_view(invocation: &Invocation) -> ResourceView {
    let trigger = invocation.trigger().map(|trigger| format!(" {trigger}")).unwrap_or_default();
    ResourceView {
        address: clean(&change::address(&invocation.address)),
        target: invocation.address.clone(),
        class: "change",
        glyph: "!",
        what: clean_line(&format!("will be invoked{trigger}"), 400),
        rows: invocation.config.iter().map(row).collect(),
        cut: (invocation.config_cut > 0).then(|| more(invocation.config_cut as usize, "attribute")),
    }
}

fn resource_view(change: &Change, resource: &ResourceChange) -> ResourceView {
    let (_, class, glyph, _) = action(resource.action);
    let mut what = change.what_happens(resource.action).into_owned();
    if let Some(reason) = resource.reason_text() {
        what.push_str(&format!(" ({reason})"));
    }
    if let Some(before) = &resource.previous_address {
        let moved = if resource.action == Action::Move { "" } else { ", moved" };
        what.push_str(&format!("{moved} from {}", clean(&change::address(before))));
    }
    match resource.import_id.as_deref() {
        None => {}
        Some("") => what.push_str(", imported"),
        Some(id) => what.push_str(&format!(", imported from {}", clean_line(&visible(id), 300))),
    }
    ResourceView {
        address: clean(&change::address(&resource.title())),
        target: resource.address.clone(),
        class,
        glyph,
        what,
        rows: resource.attributes.iter().map(row).collect(),
        cut: (resource.attributes_cut > 0)
            .then(|| more(resource.attributes_cut as usize, "attribute")),
    }
}

pub(super) fn row(attribute: &AttributeChange) -> RowView {
    RowView {
        path: clean(&change::address(&attribute.path)),
        before: value(&attribute.before),
        after: value(&attribute.after),
        forces: attribute.forces_replacement,
        mark: attribute.mark.map(MarkChange::text),
        lines: attribute.lines.iter().map(line).collect(),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Absent => "–".to_owned(),
        value => clean(&change::value(value)),
    }
}

fn line(line: &Line) -> LineView {
    let (class, text) = match line {
        Line::Same(text) => ("same", format!("  {}", clean(&visible_line(text)))),
        Line::Removed(text) => ("removed", format!("- {}", clean(&visible_line(text)))),
        Line::Added(text) => ("added", format!("+ {}", clean(&visible_line(text)))),
        Line::Skipped(count) => {
            ("skipped", format!("… {}", counted(*count as usize, "unchanged line")))
        }
        Line::Cut(count) => ("skipped", format!("… {}", more(*count as usize, "line"))),
    };
    LineView { class, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        let resource = |number: usize| ResourceChange {
            address: format!("terraform_data.r[{number}]"),
            deposed: None,
            previous_address: None,
            resource_type: "terraform_data".to_owned(),
            provider: "terraform".to_owned(),
            action: if number.is_multiple_of(10) { Action::Delete } else { Action::Create },
            import_id: None,
            reason: None,
            attributes: Vec::new(),
            attributes_cut: 0,
        };
        Change { resources: (0..5000).map(resource).collect(), ..Change::default() }
    }

    #[test]
    fn five_thousand_resources_are_shown_in_parts() {
        let change = change();
        let first = ChangeView::of(&change, &Filter::default());
        assert_eq!(
            (first.groups[0].resources.len(), first.next, first.previous),
            (100, Some(1), None)
        );
        assert_eq!(first.found.unwrap(), "1 to 100 of 5,000 resources");
        let filter =
            Filter { action: Some("delete".to_owned()), page: Some(99), ..Filter::default() };
        let last = ChangeView::of(&change, &filter);
        assert_eq!(
            (last.groups[0].resources.len(), last.next, last.previous),
            (100, None, Some(3))
        );
        let filter = Filter { text: Some("R[4999]".to_owned()), ..Filter::default() };
        let one = ChangeView::of(&change, &filter);
        assert_eq!((one.groups[0].resources.len(), one.found.as_deref()), (1, Some("1 resource")));
        let filter = Filter { text: Some("nothing".to_owned()), ..Filter::default() };
        let none = ChangeView::of(&change, &filter).found.unwrap();
        assert_eq!(none, "No matches in 5,000 resources.");
        assert_eq!(ChangeView::of(&Change::default(), &Filter::default()).found, None);
        let actions: Vec<String> = first.actions.into_iter().map(|action| action.name).collect();
        assert_eq!(actions, ["500 to destroy", "4,500 to add"]);
    }

    #[test]
    fn what_is_only_read_is_no_resource_that_changes() {
        let found = |actions: &[Action]| {
            let like = change().resources.remove(0);
            let resource = |action: &Action| ResourceChange { action: *action, ..like.clone() };
            let resources = actions.iter().map(resource).collect();
            ChangeView::of(&Change { resources, ..Change::default() }, &Filter::default()).found
        };
        let said = |words: &str| Some(words.to_owned());
        let all = [Action::Update, Action::Read, Action::Create];
        assert_eq!(found(&all), said("2 resources and 1 data source"));
        assert_eq!(found(&[Action::Read, Action::Read]), said("2 data sources"));
    }

    #[test]
    fn what_was_done_outside_is_not_counted_as_what_is_to_be_done() {
        let one = |action, address: &str| ResourceChange {
            action,
            address: address.to_owned(),
            ..change().resources.remove(0)
        };
        let resources = vec![one(Action::Update, "aws_vpc.a"), one(Action::Delete, "aws_vpc.b")];
        let change = Change {
            resources,
            refresh_only: true,
            tolerated: (0..30).map(|number| format!("aws_vpc.x[{number}]")).collect(),
            tolerated_cut: 5,
            ..Change::default()
        };
        let view = ChangeView::of(&change, &Filter::default());
        let names: Vec<&str> = view.actions.iter().map(|action| action.name.as_str()).collect();
        assert_eq!(names, ["1 changed", "1 deleted"]);
        let resources = view.groups.iter().flat_map(|group| &group.resources);
        let what: Vec<&str> = resources.map(|resource| resource.what.as_str()).collect();
        assert_eq!(what, ["was deleted outside of Terraform", "was changed outside of Terraform"]);
        let tolerated = view.remarks.iter().find(|remark| remark.contains("tolerated")).unwrap();
        assert!(tolerated.starts_with("35 differences tolerated: aws_vpc.x[0], "), "{tolerated}");
        assert!(tolerated.ends_with("aws_vpc.x[19], 15 more."), "{tolerated}");
    }

    fn of_modules() -> Change {
        let actions = [
            (Action::Create, "aws_vpc.a"),
            (Action::Create, "module.net.aws_subnet.a"),
            (Action::Delete, "module.dns[\"a.b\"].aws_zone.a"),
            (Action::Delete, "module.net.aws_subnet.b"),
            (Action::Update, "module.dns[\"a.b\"].aws_zone.b"),
            (Action::Create, "module.net.aws_subnet.c"),
        ];
        let like = change().resources.remove(0);
        let resource = |(action, address): (Action, &str)| ResourceChange {
            address: address.to_owned(),
            action,
            ..like.clone()
        };
        Change { resources: actions.into_iter().map(resource).collect(), ..Change::default() }
    }

    fn told(view: &ChangeView) -> String {
        let group = |group: &Group| {
            let (module, counts) = group.module.clone().unwrap_or_default();
            let addresses: Vec<&str> =
                group.resources.iter().map(|one| one.address.as_str()).collect();
            format!("{module}({counts}): {}", addresses.join(" "))
        };
        view.groups.iter().map(group).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_destroyed_comes_first_in_all_and_in_each_module() {
        let change = of_modules();
        insta::assert_snapshot!(told(&ChangeView::of(&change, &Filter::default())), @r#"(): module.dns["a.b"].aws_zone.a module.net.aws_subnet.b aws_vpc.a module.net.aws_subnet.a module.dns["a.b"].aws_zone.b module.net.aws_subnet.c"#);
        let by_module = Filter { group: Some("module".to_owned()), ..Filter::default() };
        let view = ChangeView::of(&change, &by_module);
        assert!(view.is_modular && view.is_grouped);
        insta::assert_snapshot!(told(&view), @r#"
        module.dns["a.b"](1 to destroy, 1 to change): module.dns["a.b"].aws_zone.a module.dns["a.b"].aws_zone.b
        module.net(1 to destroy, 2 to add): module.net.aws_subnet.b module.net.aws_subnet.a module.net.aws_subnet.c
        Root module(1 to add): aws_vpc.a
        "#);
        assert!(!ChangeView::of(&super::tests::change(), &by_module).is_modular);
    }

    #[test]
    fn a_module_that_goes_on_on_the_next_page_has_one_count() {
        let mut change = change();
        for resource in &mut change.resources {
            resource.address = format!("module.many.{}", resource.address);
        }
        let page = |page| {
            let group = Some("module".to_owned());
            let filter = Filter { group, page: Some(page), ..Filter::default() };
            ChangeView::of(&change, &filter)
        };
        for number in [0, 7] {
            let view = page(number);
            assert_eq!((view.groups.len(), view.groups[0].resources.len()), (1, 100));
            let counts = view.groups[0].module.clone().unwrap();
            let said = "500 to destroy, 4,500 to add";
            assert_eq!(counts, ("module.many".to_owned(), said.to_owned()));
        }
    }

    #[test]
    fn values_are_found_and_hidden_ones_never() {
        let attribute = |path: &str, before, after| AttributeChange {
            path: path.to_owned(),
            before,
            after,
            forces_replacement: false,
            mark: None,
            lines: Vec::new(),
        };
        let known = |text: &str| Value::Known(text.to_owned());
        let mut change = of_modules();
        change.resources[0].attributes =
            vec![attribute("cidr", known("\"10.0.0.0/16\""), known("\"10.1.0.0/16\""))];
        change.resources[1].attributes =
            vec![attribute("password", Value::Sensitive, Value::Unknown)];
        let policy = attribute("policy", Value::Lines(2), Value::Lines(2));
        let lines = vec![Line::Same("{".to_owned()), Line::Added("\"Allow\"".to_owned())];
        change.resources[2].attributes = vec![AttributeChange { lines, ..policy }];
        change.outputs = vec![attribute("url", Value::Absent, known("\"https://new\""))];
        let found = |text: &str| {
            let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
            let view = ChangeView::of(&change, &filter);
            let all = view.groups[0].resources.iter().map(|one| one.address.clone());
            all.chain(view.outputs.iter().map(|output| output.path.clone())).collect::<Vec<_>>()
        };
        assert_eq!(found("10.1.0"), ["aws_vpc.a"]);
        assert_eq!(found("10.0.0"), ["aws_vpc.a"]);
        assert_eq!(found("allow"), ["module.dns[\"a.b\"].aws_zone.a"]);
        assert_eq!(found("HTTPS://new"), ["url"]);
        assert_eq!(found("password"), ["module.net.aws_subnet.a"]);
        assert_eq!(found("sensitive"), Vec::<String>::new());
        assert_eq!(found("known after"), Vec::<String>::new());
    }
}
