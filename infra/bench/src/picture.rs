//! The picture of how time and calls grow with the stacks that one push touches: both axes
//! logarithmic, readable in light and in dark.

use crate::push::Touched;
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// Around what is drawn: for the words beside it.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 50.0;

const STYLE: &str = "svg { font: 13px system-ui, sans-serif; fill: #333; background: #fff }\n\
                     .grid { stroke: #ccc } .line { fill: none; stroke-width: 2 }\n\
                     @media (prefers-color-scheme: dark) {\n\
                     svg { fill: #ddd; background: #111 } .grid { stroke: #444 } }";

/// The picture as SVG.
pub(crate) fn of(sizes: &[(usize, Touched)]) -> String {
    type Figure = fn(&Touched) -> f64;
    let lines: [(&str, &str, Figure); 3] = [
        ("seconds", "#2f81f7", |touched| touched.seconds),
        ("GitLab calls", "#d9730d", |touched| touched.gitlab),
        ("table requests", "#2da44e", |touched| touched.table.unwrap_or_default()),
    ];
    let all = sizes.iter().flat_map(|(_, touched)| lines.map(|(.., value)| value(touched)));
    // No zero on a logarithmic axis.
    let logs: Vec<f64> = all.map(|value| value.max(0.01).log10()).collect();
    let lowest = logs.iter().copied().fold(0.0, f64::min).floor();
    let highest = logs.iter().copied().fold(1.0, f64::max).ceil();
    let most = sizes.iter().map(|(stacks, _)| *stacks as f64).fold(100.0, f64::max).log10();
    let x = |stacks: f64| LEFT + (stacks.log10() - 1.0) / (most - 1.0) * (WIDTH - LEFT - RIGHT);
    let y =
        |log: f64| HEIGHT - BOTTOM - (log - lowest) / (highest - lowest) * (HEIGHT - TOP - BOTTOM);

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Time and calls by the stacks that one push touches\">\n\
         <style>{STYLE}</style>\n"
    );
    let (end, middle) = (WIDTH - RIGHT, LEFT + (WIDTH - LEFT - RIGHT) / 2.0);
    let mut log = lowest;
    while log <= highest {
        let (at, name) = (y(log), 10_f64.powf(log));
        draw(&mut svg, &format!("<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/>"));
        let (from, down) = (LEFT - 8.0, at + 4.0);
        draw(&mut svg, &text(from, down, "end", &name.to_string()));
        log += 1.0;
    }
    for (stacks, _) in sizes {
        let at = x(*stacks as f64);
        draw(&mut svg, &text(at, HEIGHT - BOTTOM + 20.0, "middle", &stacks.to_string()));
    }
    draw(&mut svg, &text(middle, HEIGHT - 8.0, "middle", "stacks that one push touches"));
    for (name, color, value) in lines {
        let place = |(stacks, touched): &(usize, Touched)| {
            (x(*stacks as f64), y(value(touched).max(0.01).log10()))
        };
        let places: Vec<(f64, f64)> = sizes.iter().map(place).collect();
        let points: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let points = points.join(" ");
        let line = format!("<polyline class=\"line\" stroke=\"{color}\" points=\"{points}\"/>");
        draw(&mut svg, &line);
        for (x, y) in &places {
            draw(
                &mut svg,
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>"),
            );
        }
        if let Some((x, y)) = places.last() {
            draw(&mut svg, &text(x + 10.0, y + 4.0, "start", name));
        }
    }
    svg + "</svg>\n"
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>")
}

fn draw(svg: &mut String, element: &str) {
    // Writing into a text does not fail.
    let _written = writeln!(svg, "{element}");
}
