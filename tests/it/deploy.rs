//! What `deploy/` says of the program: its metrics, its roles, the mention that Quickwit reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use moksori::config::Config;
use regex::Regex;
use serde_json::Value;

use crate::{catalogue::stages, kit::engines::have, tidy::files};

fn json(path: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn alerts_and_dashboards_speak_of_metrics_that_exist() {
    let kinds: BTreeMap<&str, &str> =
        stages().iter().flat_map(|(_, entries)| entries.iter().map(|entry| (entry.name, entry.kind))).collect();
    let word = Regex::new(r"moksori_\w+").unwrap();
    let mut named = BTreeSet::new();
    let mut texts = files("deploy/grafana", &["json"]);
    texts.extend(files("deploy/prometheus", &["yml"]));
    for (path, text) in texts {
        for found in word.find_iter(&text) {
            let name = found.as_str();
            let histogram = ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
            let known = match histogram {
                Some(histogram) => kinds.get(histogram).is_some_and(|kind| kind.starts_with("Histogram")),
                None => kinds.get(name).is_some_and(|kind| !kind.starts_with("Histogram")),
            };
            assert!(known, "{} speaks of {name}, which nobody counts", path.display());
            named.insert(name.to_owned());
        }
    }
    assert!(named.len() > 20, "{named:?}");
}

/// In Prometheus' own words: `deploy/prometheus/alerts_test.yml` says when which alert must be raised.
#[test]
fn alerts_are_raised_when_they_must_be() {
    let promtool = Path::new("scripts/promtool.sh");
    let fetched = Command::new(promtool).arg("fetch").output().unwrap();
    let why = String::from_utf8_lossy(&fetched.stderr).trim().to_owned();
    let there = if fetched.status.success() { Ok(()) } else { Err(why) };
    if have("the alerts", &there).is_none() {
        return;
    }
    let read = |name: &str| fs::read_to_string(format!("deploy/prometheus/{name}")).unwrap();
    let (alerts, tests) = (read("alerts.yml"), read("alerts_test.yml"));
    for (_, alert) in alerts.lines().filter_map(|line| line.split_once("- alert: ")) {
        let asked = format!("alertname: {alert}\n");
        let mut answers = tests.split(&asked).skip(1);
        assert!(answers.any(|answer| answer.trim_start().starts_with("exp_alerts")), "no test raises {alert}");
    }
    for words in [["test", "rules", "alerts_test.yml"], ["check", "config", "prometheus.yml"]] {
        let output = Command::new(fs::canonicalize(promtool).unwrap())
            .arg("run")
            .args(words)
            .current_dir("deploy/prometheus")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn dashboards_say_what_they_show() {
    let source = fs::read_to_string("deploy/grafana/provisioning/datasource.yaml").unwrap();
    for (path, text) in files("deploy/grafana/dashboards", &["json"]) {
        let board: Value = serde_json::from_str(&text).unwrap();
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(panel["description"].as_str().unwrap().ends_with('.'), "{}: {title} has no sentence", path.display());
            assert!(ids.insert(panel["id"].as_i64().unwrap()), "{}: {title} has another's id", path.display());
            for target in panel["targets"].as_array().unwrap() {
                let uid = target["datasource"]["uid"].as_str().unwrap();
                assert!(source.contains(&format!("uid: {uid}")), "{}: {title} asks {uid}", path.display());
            }
        }
        assert!(ids.len() > 5);
    }
}

const CONFIG: &str = "deploy/config/moksori.toml";

#[test]
fn the_program_takes_the_configuration() {
    let config = Config::load(Some(Path::new(CONFIG)), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(config.shared(), "several processes cannot share this");
    let image = fs::read_to_string("deploy/Dockerfile").unwrap();
    assert!(image.contains(&format!("VOLUME {}\n", config.data.directory.display())));
}

#[test]
fn every_secret_is_handed_over() {
    let config = fs::read_to_string(CONFIG).unwrap();
    let secrets: String = files("deploy/kubernetes", &["example"]).into_iter().map(|(_, text)| text).collect();
    let compose = fs::read_to_string("deploy/compose.yaml").unwrap();
    let example = fs::read_to_string("deploy/env.example").unwrap();
    let mut named = 0;
    for found in Regex::new(r#"env = "(\w+)""#).unwrap().captures_iter(&config) {
        let name = &found[1];
        assert!(compose.contains(&format!("{name}: ${{{name}:")), "compose.yaml gives nobody {name}");
        assert!(example.contains(&format!("\n{name}=\n")), "env.example has no {name}");
        assert!(secrets.contains(&format!("\n{name}=\n")), "kubernetes/*.env.example have no {name}");
        named += 1;
    }
    let wanted = Regex::new(r"password_env|secrets\.").unwrap().find_iter(&config).count();
    assert_eq!(named, wanted);
}

/// The roles that somebody starts, in the order of the files.
fn roles(texts: impl IntoIterator<Item = String>) -> Vec<String> {
    let option = Regex::new(r#"--roles, "?([a-z,]+)"?[,\]]"#).unwrap();
    let mut roles = Vec::new();
    for text in texts {
        for found in option.captures_iter(&text) {
            roles.extend(found[1].trim_end_matches(',').split(',').map(str::to_owned));
        }
    }
    roles.sort();
    roles
}

#[test]
fn every_role_is_started_once_and_watched() {
    let compose = fs::read_to_string("deploy/compose.yaml").unwrap();
    let manifests = files("deploy/kubernetes", &["yaml"]).into_iter().map(|(_, text)| text);
    let all = ["clock", "connect", "index", "triage", "web"];
    assert_eq!(roles([compose.clone()]), all);
    assert_eq!(roles(manifests), all);
    let scrape = fs::read_to_string("deploy/prometheus/prometheus.yml").unwrap();
    for found in Regex::new(r"job_name: (\w+)\n.*names: \[(\w+)\]").unwrap().captures_iter(&scrape) {
        let (job, name) = (&found[1], &found[2]);
        assert_eq!(job, name);
        assert!(compose.contains(&format!("\n  {name}:\n    <<: *moksori\n")), "compose.yaml has no service {name}");
        let manifest = fs::read_to_string(format!("deploy/kubernetes/{name}.yaml")).unwrap();
        assert!(manifest.contains(&format!("kind: Service\nmetadata:\n  name: {name}\n")), "{name}.yaml has no such service");
    }
}

/// The fields of a mapping, a field of an object as `object.field`.
fn mapped(fields: &Value, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for field in fields.as_array().unwrap() {
        let name = format!("{prefix}{}", field["name"].as_str().unwrap());
        if field["type"] == "object" {
            names.extend(mapped(&field["field_mappings"], &format!("{name}.")));
        } else {
            names.insert(name);
        }
    }
    names
}

#[test]
fn quickwit_maps_what_a_mention_has() {
    let schema = json("docs/mention.schema.json");
    let mut fields = BTreeSet::new();
    for (name, property) in schema["properties"].as_object().unwrap() {
        match property["properties"].as_object() {
            Some(object) => fields.extend(object.keys().map(|inner| format!("{name}.{inner}"))),
            None => drop(fields.insert(name.clone())),
        }
    }
    // Addresses of pictures, what a platform's API calls a post, what its connector keeps: nobody searches for them.
    for name in ["media", "local_ref", "extra"] {
        assert!(fields.remove(name));
    }
    let index = json("deploy/quickwit/index.json");
    let mapping = &index["doc_mapping"];
    assert_eq!(mapped(&mapping["field_mappings"], ""), fields);
    assert!(schema["required"].as_array().unwrap().contains(&mapping["timestamp_field"]), "a document may lack its time");
    assert_eq!(json("deploy/quickwit/source.json")["params"]["topic"], "moksori-mentions");
}
