//! Somebody at the pages, without a browser.

use crate::support::{Got, World};

/// What a form is sent as.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// Fields as a form sends them.
pub(crate) fn form_of(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What a page's hidden field holds.
#[track_caller]
pub(crate) fn hidden(page: &str, name: &str) -> String {
    let field = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
    let (_, rest) = page.split_once(&field).unwrap_or_else(|| panic!("no {name}: {page}"));
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// Somebody at the pages.
pub(crate) struct Browser<'a> {
    pub(crate) w: &'a World,
    pub(crate) cookie: String,
}

impl<'a> Browser<'a> {
    /// Signs in with a key.
    pub(crate) async fn sign_in(w: &'a World, key: &str) -> Self {
        let body = format!("key={key}&next=");
        let got = w.ask("POST", "/sign-in", None, &[("content-type", FORM)], body).await;
        let got = got.expect(303);
        assert_eq!(got.headers["location"], "./");
        let cookie = got.headers["set-cookie"].to_str().unwrap();
        for part in ["HttpOnly", "SameSite=Lax", "Secure", "Max-Age=43200"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { w, cookie }
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.w.ask("GET", path, None, &[("cookie", &self.cookie)], "").await
    }

    /// The token that a page's forms carry.
    pub(crate) async fn token(&self, page: &str) -> String {
        let text = self.get(page).await.expect(200).text;
        let (_, rest) = text.split_once("name=\"_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// Sends a form as the browser does.
    pub(crate) async fn send(&self, path: &str, fields: &str) -> Got {
        let token = self.token("/events").await;
        self.send_with(path, &format!("_token={token}&{fields}"), &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        path: &str,
        fields: &str,
        headers: &[(&str, &str)],
    ) -> Got {
        let mut all = vec![("cookie", self.cookie.as_str()), ("content-type", FORM)];
        all.extend_from_slice(headers);
        self.w.ask("POST", path, None, &all, fields.to_owned()).await
    }
}
