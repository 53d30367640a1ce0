//! A run's plan beside another one of the same stack.

use crate::{
    app::App,
    form::Params,
    pages::{
        changes::{RowView, action, row},
        page,
        shell::{Frame, Shell},
        show::{Chip, Moment, short},
    },
    refusal::Answer,
    runs::{self, CompareQuery},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use gantry_domain::{
    plan::{Action, ComparedAttribute, ComparedResource, Comparison},
    run::{PlanMode, Run},
    text::{change, clean, counted, more},
};
use jiff::Timestamp;

#[derive(Template)]
#[template(path = "compare.html")]
struct Page {
    shell: Shell,
    /// The run, and the one that it is compared with.
    runs: [Side; 2],
    remarks: Vec<String>,
    is_empty: bool,
    parts: Vec<Part>,
    outputs: Vec<AttributeView>,
    outputs_cut: Option<String>,
    same: Option<String>,
}

struct Side {
    id: String,
    slug: String,
    number: u64,
    chip: Chip,
    delta: String,
    commit: String,
    git_ref: String,
    planned: Moment,
}

/// Resources that differ in one way.
struct Part {
    id: &'static str,
    title: &'static str,
    resources: Vec<ResourceView>,
    cut: Option<String>,
}

struct ResourceView {
    address: String,
    class: &'static str,
    glyph: &'static str,
    what: String,
    attributes: Vec<AttributeView>,
    cut: Option<String>,
}

struct AttributeView {
    path: String,
    earlier: Option<RowView>,
    now: Option<RowView>,
}

/// `GET /runs/{id}/compare?with=`
pub(crate) async fn compare(
    State(app): State<App>,
    frame: Frame,
    Path(id): Path<String>,
    Params(query): Params<CompareQuery>,
) -> Answer<Response> {
    let run = runs::find(&app, &id).await?;
    let (with, comparison) = runs::compared(&app, &run, &query).await?;
    let now = app.clock.now();
    let title = format!("{} #{} compared with #{}", run.slug, run.number, with.number);
    let here = if run.test.is_some() { "modules" } else { "stacks" };
    let Comparison { added, gone, different, .. } = &comparison;
    let part = |id, title, resources: &[ComparedResource], cut: u32| Part {
        id,
        title,
        resources: resources.iter().map(|one| resource(one, &run, &with)).collect(),
        cut: (cut > 0).then(|| format!("{}, not listed.", more(cut as usize, "resource"))),
    };
    let mut parts = vec![
        part("added", "New in this plan", added, comparison.added_cut),
        part("gone", "No longer in this plan", gone, comparison.gone_cut),
        part("different", "Changed differently", different, comparison.different_cut),
    ];
    parts.retain(|part| !part.resources.is_empty());
    Ok(page(&Page {
        shell: frame.shell(here, title),
        remarks: remarks(&comparison, &with),
        is_empty: comparison.is_empty(),
        parts,
        outputs: comparison.outputs.iter().map(attribute).collect(),
        outputs_cut: (comparison.outputs_cut > 0)
            .then(|| format!("{}, not listed.", more(comparison.outputs_cut as usize, "output"))),
        same: (comparison.same > 0).then(|| counted(comparison.same as usize, "resource")),
        runs: [side(&run, now), side(&with, now)],
    }))
}

fn side(run: &Run, now: Timestamp) -> Side {
    Side {
        id: run.id.to_string(),
        slug: run.slug.to_string(),
        number: run.number,
        chip: Chip::of(run.state, run),
        delta: run.delta.map(|delta| delta.to_string()).unwrap_or_default(),
        commit: run.code(),
        // What was uploaded is on no branch.
        git_ref: run.upload.as_ref().map_or_else(|| short(&run.git_ref, 120), |_| String::new()),
        planned: Moment::at(run.created_at, now),
    }
}

/// What is to be known beside.
fn remarks(comparison: &Comparison, with: &Run) -> Vec<String> {
    let mut remarks = Vec::new();
    if comparison.incomplete {
        remarks.push(
            "A plan covers only a part of the stack, or was too large to be kept as a whole. What is not in it is not compared."
                .to_owned(),
        );
    }
    if comparison.sensitive > 0 {
        let count = counted(comparison.sensitive as usize, "sensitive attribute");
        let is = if comparison.sensitive == 1 { "is" } else { "are" };
        remarks.push(format!(
            "{count} {is} hidden in both plans, so Gantry cannot tell whether the values differ."
        ));
    }
    if comparison.invocations_differ {
        let number = with.number;
        remarks.push(format!("The actions to be invoked are not the same as in #{number}."));
    }
    remarks
}

/// What a run's plan would do to a resource, or what it has found that somebody did.
fn happens(action: Action, in_plan_of: &Run) -> &'static str {
    let refreshes = in_plan_of.options.mode == PlanMode::RefreshOnly;
    action.found().filter(|_| refreshes).unwrap_or_else(|| action.text())
}

fn resource(resource: &ComparedResource, run: &Run, with: &Run) -> ResourceView {
    let shown = resource.now.or(resource.earlier).unwrap_or(Action::Other);
    let (_, class, glyph, _) = action(shown);
    let number = with.number;
    let what = match (resource.earlier, resource.now) {
        (Some(earlier), Some(now)) if earlier != now => {
            format!("{}; in #{number}: {}", happens(now, run), happens(earlier, with))
        }
        (Some(earlier), None) => format!("in #{number}: {}", happens(earlier, with)),
        _ => happens(shown, run).to_owned(),
    };
    ResourceView {
        address: clean(&change::address(&resource.address)),
        class,
        glyph,
        what,
        attributes: resource.attributes.iter().map(attribute).collect(),
        cut: (resource.attributes_cut > 0)
            .then(|| more(resource.attributes_cut as usize, "attribute")),
    }
}

fn attribute(attribute: &ComparedAttribute) -> AttributeView {
    AttributeView {
        path: clean(&change::address(&attribute.path)),
        earlier: attribute.earlier.as_ref().map(row),
        now: attribute.now.as_ref().map(row),
    }
}
