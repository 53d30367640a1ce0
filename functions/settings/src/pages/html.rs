//! HTML, escaped as it is put together.

/// A page being written.
pub(super) struct Page {
    /// The way to `/`, relative to the page: the public address may have a path.
    root: &'static str,
    title: String,
    head: String,
    body: String,
}

/// A text that stands in HTML for itself.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && !matches!(c, '\n' | '\t') => {}
            c => out.push(c),
        }
    }
    out
}

impl Page {
    pub(super) fn new(root: &'static str, title: &str) -> Self {
        Self { root, title: title.to_owned(), head: String::new(), body: String::new() }
    }

    /// Has the browser load the page again and again.
    pub(super) fn refresh(&mut self, seconds: u32) {
        self.head.push_str(&format!("<meta http-equiv=\"refresh\" content=\"{seconds}\">\n"));
    }

    pub(super) fn heading(&mut self, text: &str) {
        self.body.push_str(&format!("<h2>{}</h2>\n", escape(text)));
    }

    pub(super) fn paragraph(&mut self, text: &str) {
        self.body.push_str(&format!("<p>{}</p>\n", escape(text)));
    }

    /// Names and values.
    pub(super) fn facts(&mut self, facts: &[(&str, String)]) {
        self.body.push_str("<dl>\n");
        for (name, value) in facts {
            let (name, value) = (escape(name), escape(value));
            self.body.push_str(&format!("<dt>{name}</dt><dd>{value}</dd>\n"));
        }
        self.body.push_str("</dl>\n");
    }

    /// Lines as they are.
    pub(super) fn preformatted(&mut self, lines: &[String]) {
        // A line break right after <pre> is not shown, so one more keeps a first empty line.
        self.body.push_str("<pre>\n");
        for line in lines {
            self.body.push_str(&escape(line));
            self.body.push('\n');
        }
        self.body.push_str("</pre>\n");
    }

    pub(super) fn finish(self) -> String {
        let Self { root, title, head, body } = self;
        let title = escape(&title);
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n{head}<title>{title}</title>\n\
             <link rel=\"stylesheet\" href=\"{root}style.css\">\n</head>\n<body>\n<main>\n\
             <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_becomes_html() {
        let evil = "<script>alert('1')</script>\" onload=\"&\u{1b}[31m";
        let mut page = Page::new("", evil);
        page.paragraph(evil);
        page.heading(evil);
        page.facts(&[("a", evil.to_owned())]);
        page.preformatted(&[evil.to_owned()]);
        let html = page.finish();
        assert!(
            !html.contains("<script") && !html.contains("\" onload") && !html.contains('\u{1b}')
        );
        assert_eq!(
            escape(evil),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;&amp;[31m"
        );
    }
}
