//! Pages of lists, by offset and by key.

use serde_json::Value;

use super::Call;
use super::answer::{Answer, ApiResult, Refusal};

/// Turns a list around that goes up, unless `sort` (or its default) says so too.
pub(crate) fn sort<T>(call: &Call, items: &mut [T], default: &'static str) -> Result<(), Refusal> {
    if call.params.choice("sort", &["asc", "desc"])?.unwrap_or(default) == "desc" {
        items.reverse();
    }
    Ok(())
}

/// A page by `page` and `per_page`, with all of GitLab's headers.
pub(crate) fn page<T>(call: &Call, items: Vec<T>, shape: impl Fn(T) -> Value) -> ApiResult {
    let counted = items.len() <= 10_000;
    offset(call, items, counted, shape)
}

/// A page of a list whose length GitLab does not count, such as commits.
pub(crate) fn uncounted<T>(call: &Call, items: Vec<T>, shape: impl Fn(T) -> Value) -> ApiResult {
    offset(call, items, false, shape)
}

fn offset<T>(call: &Call, items: Vec<T>, counted: bool, shape: impl Fn(T) -> Value) -> ApiResult {
    let (page, size) = (call.params.number("page")?.unwrap_or(1), per_page(call)?);
    if page == 0 {
        return Err(Refusal::bad_value("page"));
    }
    if page.saturating_mul(size) > 50_000 + size {
        let text = "Offset pagination has a maximum allowed offset of 50000 for requests that \
                    return objects of this type. Remaining records can be retrieved using keyset \
                    pagination.";
        return Err(Refusal::error(405, text));
    }
    let total = items.len() as u64;
    let pages = total.div_ceil(size).max(1);
    let start = (page - 1).saturating_mul(size);
    let taken: Vec<Value> =
        items.into_iter().skip(start as usize).take(size as usize).map(shape).collect();
    let next = (page < pages).then(|| page + 1);
    let previous = (page > 1).then(|| page - 1);
    let show = |number: Option<u64>| number.map_or_else(String::new, |number| number.to_string());
    let mut links = Vec::new();
    let mut link = |number: Option<u64>, rel: &str| {
        if let Some(number) = number {
            links.push(format!("<{}>; rel=\"{rel}\"", with_page(call, number, size)));
        }
    };
    link(previous, "prev");
    link(next, "next");
    link(Some(1), "first");
    if counted {
        link(Some(pages), "last");
    }
    let mut answer = Answer::ok(Value::Array(taken))
        .header("x-page", page)
        .header("x-per-page", size)
        .header("x-next-page", show(next))
        .header("x-prev-page", show(previous))
        .header("link", links.join(", "));
    if counted {
        answer = answer.header("x-total", total).header("x-total-pages", pages);
    }
    Ok(answer)
}

/// A page by `page_token`: only `Link: rel="next"`, and none at the end.
pub(crate) fn keyset<T>(
    call: &Call,
    items: Vec<T>,
    key: impl Fn(&T) -> String,
    shape: impl Fn(T) -> Value,
) -> ApiResult {
    let size = per_page(call)? as usize;
    let after = call.params.filled("page_token");
    let start = match &after {
        None => 0,
        Some(token) => {
            let found = items.iter().position(|item| key(item) == *token);
            found.ok_or_else(|| Refusal::invalid("page_token"))? + 1
        }
    };
    let more = items.len() > start + size;
    let taken: Vec<T> = items.into_iter().skip(start).take(size).collect();
    let last = taken.last().map(&key);
    let answer = Answer::ok(taken.into_iter().map(shape).collect());
    Ok(match last.filter(|_| more) {
        Some(last) => answer.header("link", next(call, "page_token", &last)),
        None => answer,
    })
}

/// A page of a list in the order of its numbers, which goes on behind its last one. Every page has
/// a link to the next one, except an empty one: that is how GitLab says that there are no more.
pub(crate) fn by_id<T>(
    call: &Call,
    items: Vec<T>,
    id: impl Fn(&T) -> u64,
    shape: impl Fn(T) -> Value,
) -> ApiResult {
    let size = per_page(call)? as usize;
    let taken: Vec<T> = items.into_iter().take(size).collect();
    let last = taken.last().map(id);
    let answer = Answer::ok(taken.into_iter().map(shape).collect());
    let descending = call.params.text("sort").as_deref() != Some("asc");
    let key = if descending { "id_before" } else { "id_after" };
    Ok(match last {
        Some(last) => answer.header("link", next(call, key, &last.to_string())),
        None => answer,
    })
}

/// The link to a next page that begins behind a key.
fn next(call: &Call, parameter: &str, key: &str) -> String {
    let mut query = without(&call.query, &[parameter]);
    query.push(format!("{parameter}={}", super::params::encode(key)));
    format!("<{}?{}>; rel=\"next\"", call.url, query.join("&"))
}

fn per_page(call: &Call) -> Result<u64, Refusal> {
    match call.params.number("per_page")? {
        None => Ok(20),
        Some(0) => Err(Refusal::bad_value("per_page")),
        Some(size) => Ok(size.min(100)),
    }
}

fn with_page(call: &Call, page: u64, size: u64) -> String {
    let mut query = without(&call.query, &["page", "per_page"]);
    query.push(format!("page={page}"));
    query.push(format!("per_page={size}"));
    format!("{}?{}", call.url, query.join("&"))
}

fn without(query: &str, keys: &[&str]) -> Vec<String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .filter(|pair| !keys.contains(&pair.split('=').next().unwrap_or_default()))
        .map(str::to_owned)
        .collect()
}
