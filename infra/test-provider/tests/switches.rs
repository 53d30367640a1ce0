//! What Terraform and OpenTofu make of each switch of the provider for tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod place;

use gantry_terraform::on_each_tool;
use place::{Place, change, changes, object};
use serde_json::json;

on_each_tool! {
    async fn an_object_lives_from_create_to_destroy(tool) {
        let place = Place::new(tool);
        let digits = "123456789012345678901234567890.125";
        let made = |text: &str| format!("name = \"web\"\ntext = \"{text}\"\nnumber = {digits}");
        place.write(&object("a", &made("one")));
        let plan = place.plan();
        let created = change(&plan, "test_object.a");
        assert_eq!(created["actions"], json!(["create"]));
        assert_eq!(created["after_unknown"]["id"], json!(true));
        assert_eq!(created["after_unknown"]["revision"], json!(true));
        assert!(place.shown().contains(&format!("\"number\":{digits}")), "{}", place.shown());
        place.apply();
        let outside = place.outside("web-1").unwrap();
        assert_eq!(outside["number"], json!(digits));
        assert_eq!(changes(&place.plan()), json!([["test_object.a", ["no-op"]]]));

        place.write(&object("a", &made("two")));
        let updated = change(&place.plan(), "test_object.a");
        assert_eq!(updated["actions"], json!(["update"]));
        assert_eq!(updated["before"]["text"], json!("one"));
        assert_eq!(updated["before"]["revision"], json!(1));
        place.apply();
        assert_eq!(place.outside("web-1").unwrap()["revision"], json!(2));

        place.write(&object("a", "name = \"api\""));
        let replaced = change(&place.plan(), "test_object.a");
        assert_eq!(replaced["actions"], json!(["delete", "create"]));
        assert_eq!(replaced["replace_paths"], json!([["name"]]));
        place.apply();
        assert!(place.outside("web-1").is_none());
        assert!(place.outside("api-1").is_some());

        place.write("");
        place.plan();
        place.apply();
        assert!(place.outside("api-1").is_none());
        // Every start of the provider has ended by itself.
        assert_eq!(place.left_in_tmp(), Vec::<String>::new());
    }

    async fn who_edits_or_deletes_a_file_outside_makes_drift(tool) {
        let place = Place::new(tool);
        place.write(&object("a", "name = \"web\"\ntext = \"one\""));
        place.plan();
        place.apply();
        place.edit("web-1", |outside| outside["text"] = json!("by hand"));
        let plan = place.plan();
        let drift = &plan["resource_drift"][0];
        assert_eq!(drift["address"], json!("test_object.a"));
        assert_eq!(drift["change"]["before"]["text"], json!("one"));
        assert_eq!(drift["change"]["after"]["text"], json!("by hand"));
        assert_eq!(change(&plan, "test_object.a")["actions"], json!(["update"]));
        place.apply();

        place.delete("web-1");
        let plan = place.plan();
        assert_eq!(plan["resource_drift"][0]["change"]["actions"], json!(["delete"]));
        assert_eq!(change(&plan, "test_object.a")["actions"], json!(["create"]));
    }
}
