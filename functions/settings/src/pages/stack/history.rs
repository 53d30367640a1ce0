//! How the runs of a stack went lately: a picture of 30 days, the same as a table, and how long
//! people waited.

use super::numbers::{DAYS, Day, Numbers, Spread};
use crate::{
    app::App,
    pages::{
        page,
        shell::{Frame, Shell},
        show::span,
    },
    refusal::Answer,
    runs,
    stacks::{self, Kind},
};
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use gantry_domain::text::counted;

/// Runs that are looked at: the newest ones.
const RUNS: i32 = 200;
/// Units of the picture: its height, and the width of a day, which a gap is a part of.
const HEIGHT: usize = 1000;
const WIDTH: usize = 100;

#[derive(Template)]
#[template(path = "stack_history.html")]
struct Page {
    shell: Shell,
    slug: String,
    name: String,
    /// The picture in a sentence.
    told: String,
    columns: Vec<Column>,
    first: String,
    last: String,
    /// The days that have runs, the newest first.
    days: Vec<Day>,
    /// How many runs have not ended.
    unfinished: Option<String>,
    /// There are older runs of these days, which are not counted.
    is_cut: bool,
    waits: Vec<(&'static str, String)>,
}

/// The runs of a day, one bar above the other.
struct Column {
    words: String,
    bars: Vec<Bar>,
}

struct Bar {
    class: &'static str,
    /// What it is filled with besides its colour.
    fill: &'static str,
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// `GET /stacks/{slug}/history`
pub(crate) async fn show(
    State(app): State<App>,
    frame: Frame,
    Path(slug): Path<String>,
) -> Answer<Response> {
    let stack = stacks::find_of(&app, Kind::Stack, &slug).await?.value;
    let (runs, has_older) = runs::newest(&app, frame.caller()?, &stack, RUNS).await?;
    let now = app.clock.now();
    let numbers = Numbers::of(&runs, now);
    let begin = now.duration_since(runs.last().map_or(now, |run| run.created_at));
    let date = |day: Option<&Day>| day.map(|day| day.date.clone()).unwrap_or_default();
    Ok(page(&Page {
        shell: frame.shell("stacks", format!("History of {}", stack.settings.name)),
        slug: stack.slug.to_string(),
        name: stack.settings.name.clone(),
        told: told(&numbers.days),
        columns: columns(&numbers.days),
        first: date(numbers.days.first()),
        last: date(numbers.days.last()),
        is_cut: has_older && begin.as_hours() < 24 * i64::try_from(DAYS).unwrap_or_default(),
        unfinished: (numbers.unfinished > 0).then(|| counted(numbers.unfinished, "run")),
        waits: vec![
            ("From request to plan", spread(numbers.to_plan)),
            ("From plan to confirmation", spread(numbers.to_confirm)),
            ("Apply", spread(numbers.apply)),
        ],
        days: numbers.days.into_iter().rev().filter(|day| day.all() > 0).collect(),
    }))
}

fn spread(spread: Option<Spread>) -> String {
    let Some(Spread { count, median, most }) = spread else { return "No runs yet".to_owned() };
    let (median, most) = (span(median.as_secs()), span(most.as_secs()));
    format!("median {median}, 90% within {most} ({})", counted(count, "run"))
}

/// What the picture shows, for who does not see it.
fn told(days: &[Day]) -> String {
    let sum = |of: fn(&Day) -> usize| days.iter().map(of).sum::<usize>();
    let most = days.iter().map(Day::all).max().unwrap_or_default();
    format!(
        "{} ended in the last {DAYS} days: {} applied or planned, {} failed, {} discarded, stopped \
         or canceled. At most {most} on one day.",
        counted(sum(Day::all), "run"),
        sum(|day| day.good),
        sum(|day| day.failed),
        sum(|day| day.ended),
    )
}

/// The bars of each day, from the bottom: what went well, what failed, what was ended.
fn columns(days: &[Day]) -> Vec<Column> {
    let most = days.iter().map(Day::all).max().unwrap_or_default().max(1);
    let gap = WIDTH / 10;
    let column = |(at, day): (usize, &Day)| {
        let kinds = [
            ("ok", "currentcolor", day.good),
            ("bad", "url(#striped)", day.failed),
            ("quiet", "none", day.ended),
        ];
        let mut below = 0;
        let bars =
            kinds.into_iter().filter(|(.., count)| *count > 0).map(|(class, fill, count)| {
                // Both ends are rounded alike, so that bars meet.
                let (from, to) = (below * HEIGHT / most, (below + count) * HEIGHT / most);
                below += count;
                let (x, width) = (at * WIDTH + gap, WIDTH - 2 * gap);
                Bar { class, fill, x, y: HEIGHT - to, width, height: to - from }
            });
        let bars = bars.collect();
        let words = format!(
            "{}: {} applied or planned, {} failed, {} discarded, stopped or canceled",
            day.date, day.good, day.failed, day.ended
        );
        Column { words, bars }
    };
    days.iter().enumerate().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_and_the_fullest_day_fills_the_picture() {
        let day = |good, failed, ended| Day { date: String::new(), good, failed, ended };
        let columns = columns(&[day(0, 0, 0), day(1, 0, 1), day(2, 1, 1)]);
        let bars = |at: usize| {
            let bars = columns[at].bars.iter();
            bars.map(|bar| (bar.class, bar.x, bar.y, bar.height)).collect::<Vec<_>>()
        };
        assert_eq!(bars(0), []);
        assert_eq!(bars(1), [("ok", 110, 750, 250), ("quiet", 110, 500, 250)]);
        assert_eq!(
            bars(2),
            [("ok", 210, 500, 500), ("bad", 210, 250, 250), ("quiet", 210, 0, 250)]
        );
        let fills: Vec<_> = columns[2].bars.iter().map(|bar| bar.fill).collect();
        assert_eq!(fills, ["currentcolor", "url(#striped)", "none"], "told apart without colour");
    }
}
