//! connectors/schema.json: what editors complete and check connector files by, drawn from the sources of the format;
//! and every connector file, and every mention, by its schema.

use std::{collections::BTreeMap, fs, path::Path};

use regex::Regex;
use serde_json::{Map, Value, json};

/// Where the format is written down, as types.
const SOURCES: &[&str] = &["src/connect/file.rs", "src/connect/format.rs", "src/connect/format", "src/text/length.rs"];

/// What types with a reading of their own take.
fn leaf(name: &str) -> Option<Value> {
    Some(match name {
        "String" | "Template" | "Field" | "Told" | "Regex" | "Signed" | "PathBuf" => json!({ "type": "string" }),
        "Path" => json!({ "type": "string", "pattern": "^\\$" }),
        "Span" => json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" }),
        "Statuses" => json!({ "type": "array", "items": { "type": "string", "pattern": "^([0-9]{3}|[1-5]xx)$" } }),
        "Table" => json!({ "type": "object" }),
        // A whole JSON value, with templates in its strings.
        "Body" => json!({}),
        "bool" => json!({ "type": "boolean" }),
        "u8" | "u16" | "u32" | "u64" | "usize" => json!({ "type": "integer", "minimum": 0 }),
        "(u32, u32)" => json!({ "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 2 }),
        "Setting" => json!({ "anyOf": [{ "type": "string" }, {
            "type": "object", "additionalProperties": false, "required": ["name", "default"],
            "properties": { "name": { "type": "string" }, "default": { "type": "string" } },
        }] }),
        _ => return None,
    })
}

/// A type of the format as it stands in the source.
#[derive(Debug, Default)]
struct Type {
    attributes: String,
    doc: String,
    /// Documentation, attributes, name, type; of an enum the variants, whose type is empty.
    parts: Vec<(String, String, String, String)>,
    /// Of each variant with fields.
    inner: BTreeMap<String, Vec<(String, String, String, String)>>,
    variants: bool,
}

fn types() -> BTreeMap<String, Type> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for source in SOURCES {
        let path = root.join(source);
        match path.is_dir() {
            true => files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path())),
            false => files.push(path),
        }
    }
    files.sort();
    let head = Regex::new(r"^pub (struct|enum) (\w+) \{$").unwrap();
    let field = Regex::new(r"^    pub (\w+): (.+),$").unwrap();
    let variant = Regex::new(r"^    (\w+)( \{|,)$").unwrap();
    let inner = Regex::new(r"^        (\w+): (.+),$").unwrap();
    let mut types = BTreeMap::new();
    for path in files {
        let text = fs::read_to_string(path).unwrap();
        let (mut doc, mut attributes, mut open, mut within) = (String::new(), String::new(), None, String::new());
        for line in text.lines() {
            let bare = line.trim();
            if let Some(words) = bare.strip_prefix("///") {
                doc.push_str(words);
                continue;
            }
            if bare.starts_with("#[") {
                attributes.push_str(bare);
                continue;
            }
            let (words, marks) = (std::mem::take(&mut doc).trim().to_owned(), std::mem::take(&mut attributes));
            if let Some(found) = head.captures(line) {
                let variants = &found[1] == "enum";
                open = Some((found[2].to_owned(), Type { attributes: marks, doc: words, variants, ..Type::default() }));
                continue;
            }
            let Some((_, kind)) = &mut open else { continue };
            if line == "}" {
                let (name, kind) = open.take().unwrap();
                if kind.attributes.contains("Deserialize") {
                    types.insert(name, kind);
                }
            } else if let Some(found) = field.captures(line).filter(|_| !kind.variants) {
                kind.parts.push((words, marks, found[1].to_owned(), found[2].to_owned()));
            } else if let Some(found) = variant.captures(line).filter(|_| kind.variants) {
                within = found[1].to_owned();
                kind.parts.push((words, marks, within.clone(), String::new()));
            } else if let Some(found) = inner.captures(line).filter(|_| kind.variants) {
                let part = (words, marks, found[1].to_owned(), found[2].to_owned());
                kind.inner.entry(within.clone()).or_default().push(part);
            }
        }
    }
    types
}

/// The value of `name = "..."` in serde's attributes.
fn set<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let at = attributes.find(&format!("{name} = \""))?;
    attributes[at..].split('"').nth(1)
}

fn renamed(name: &str, rule: Option<&str>) -> String {
    match rule {
        Some("snake_case") => {
            let mut out = String::new();
            for (at, sign) in name.chars().enumerate() {
                if sign.is_uppercase() && at > 0 {
                    out.push('_');
                }
                out.extend(sign.to_lowercase());
            }
            out
        }
        Some("lowercase") => name.to_lowercase(),
        None => name.to_owned(),
        Some(other) => panic!("teach this test what rename_all = \"{other}\" does"),
    }
}

fn schema_of(kind: &str, known: &BTreeMap<String, Type>) -> Value {
    let kind = kind.trim().trim_start_matches("toml::");
    let inside = |prefix: &str| kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('>'));
    if let Some(inner) = inside("Option<") {
        return schema_of(inner, known);
    }
    if let Some(inner) = inside("Vec<") {
        return json!({ "type": "array", "items": schema_of(inner, known) });
    }
    if let Some(inner) = inside("BTreeMap<String, ") {
        return json!({ "type": "object", "additionalProperties": schema_of(inner, known) });
    }
    if let Some(schema) = leaf(kind) {
        return schema;
    }
    assert!(known.contains_key(kind), "the format has a type `{kind}`: say in leaf() what it takes");
    json!({ "$ref": format!("#/$defs/{kind}") })
}

fn object(
    parts: &[(String, String, String, String)],
    all_default: bool,
    known: &BTreeMap<String, Type>,
) -> (Map<String, Value>, Vec<String>) {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (doc, attributes, name, kind) in parts {
        if attributes.contains("serde(skip)") {
            continue;
        }
        let name = set(attributes, "rename").unwrap_or(name).to_owned();
        let mut schema = schema_of(kind, known);
        if !doc.is_empty() {
            schema["description"] = json!(doc);
        }
        let alias = set(attributes, "alias");
        if let Some(alias) = alias {
            properties.insert(alias.to_owned(), schema.clone());
        }
        if !all_default && !kind.starts_with("Option<") && !attributes.contains("default") && alias.is_none() {
            required.push(name.clone());
        }
        properties.insert(name, schema);
    }
    (properties, required)
}

fn table(doc: &str, parts: &[(String, String, String, String)], all_default: bool, known: &BTreeMap<String, Type>) -> Value {
    let (properties, required) = object(parts, all_default, known);
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if !doc.is_empty() {
        schema["description"] = json!(doc);
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// The schema of a whole connector file.
fn connector_schema() -> Value {
    let known = types();
    let mut defs = Map::new();
    let mut wanted = vec!["ConnectorFile".to_owned()];
    while let Some(name) = wanted.pop() {
        if defs.contains_key(&name) {
            continue;
        }
        let kind = &known[&name];
        let rule = set(&kind.attributes, "rename_all");
        let schema = if !kind.variants {
            let all_default = kind.attributes.contains("default)") || kind.attributes.contains("(default");
            table(&kind.doc, &kind.parts, all_default, &known)
        } else if let Some(tag) = set(&kind.attributes, "tag") {
            let of = |(doc, _, variant, _): &(String, String, String, String)| {
                let mut schema = table(doc, kind.inner.get(variant).map_or(&[][..], Vec::as_slice), false, &known);
                schema["properties"][tag] = json!({ "const": renamed(variant, rule) });
                let mut required = schema["required"].as_array().cloned().unwrap_or_default();
                required.insert(0, json!(tag));
                schema["required"] = json!(required);
                schema
            };
            json!({ "description": kind.doc, "oneOf": kind.parts.iter().map(of).collect::<Vec<_>>() })
        } else {
            let of = |(doc, _, variant, _): &(String, String, String, String)| json!({ "const": renamed(variant, rule), "description": doc });
            json!({ "description": kind.doc, "oneOf": kind.parts.iter().map(of).collect::<Vec<_>>() })
        };
        let text = schema.to_string();
        wanted.extend(text.split("#/$defs/").skip(1).filter_map(|rest| Some(rest.split('"').next()?.to_owned())));
        defs.insert(name, schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:moksori:connector:1",
        "title": "Connector file",
        "$ref": "#/$defs/ConnectorFile",
        "$defs": defs,
    })
}

/// What is wrong with `value` by `schema`, as far as the two schemas here go.
fn wrong(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let of = |schema: &Value, value: &Value, at: &str| wrong(root, schema, value, at);
    if let Some(reference) = schema["$ref"].as_str() {
        faults.extend(of(root.pointer(reference.trim_start_matches('#')).unwrap(), value, at));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if !kinds.is_empty() && !kinds.contains(&kind) {
        return vec![format!("{at}: {value} is no {}", kinds.join(" or "))];
    }
    if schema.get("const").is_some_and(|one| one != value) {
        faults.push(format!("{at}: {value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        faults.push(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        faults.push(format!("{at}: \"{text}\" does not match {pattern}"));
    }
    if schema["minLength"]
        .as_u64()
        .is_some_and(|least| value.as_str().is_some_and(|text| (text.chars().count() as u64) < least))
    {
        faults.push(format!("{at}: too short"));
    }
    if schema["minimum"].as_i64().is_some_and(|least| value.as_i64().is_some_and(|number| number < least)) {
        faults.push(format!("{at}: {value} is too small"));
    }
    for (many, least, most) in [("oneOf", 1, 1), ("anyOf", 1, usize::MAX)] {
        if let Some(options) = schema[many].as_array() {
            let tried: Vec<Vec<String>> = options.iter().map(|option| of(option, value, at)).collect();
            let fit = tried.iter().filter(|faults| faults.is_empty()).count();
            if fit < least || fit > most {
                faults.push(format!("{at}: {value} fits {fit} of {} forms: {:?}", options.len(), tried.concat()));
            }
        }
    }
    if let Some(items) = value.as_array() {
        let inside = |(index, one): (usize, &Value)| of(&schema["items"], one, &format!("{at}[{index}]"));
        faults.extend(items.iter().enumerate().flat_map(inside));
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                faults.push(format!("{at}: {name} is missing"));
            }
        }
        for (name, one) in object {
            let inner = match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(known), _) => of(known, one, &format!("{at}.{name}")),
                (None, Some(Value::Bool(false))) => vec![format!("{at}: unknown key {name}")],
                (None, Some(any)) => of(any, one, &format!("{at}.{name}")),
                (None, None) => vec![],
            };
            faults.extend(inner);
        }
    }
    if schema.get("if").is_some_and(|condition| of_holds(root, condition, value)) {
        faults.extend(of(&schema["then"], value, at));
    }
    faults
}

fn of_holds(root: &Value, condition: &Value, value: &Value) -> bool {
    match condition.get("not") {
        Some(inner) => !of_holds(root, inner, value),
        None => wrong(root, condition, value, "").is_empty(),
    }
}

/// The same with the keys of every object in order, however maps keep them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let sorted: BTreeMap<String, Value> = object.into_iter().map(|(name, one)| (name, self::sorted(one))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn file() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/schema.json")
}

#[test]
fn the_schema_of_connector_files_is_up_to_date() {
    let drawn = serde_json::to_string_pretty(&sorted(connector_schema())).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(file(), &drawn).unwrap();
    }
    let kept = fs::read_to_string(file()).unwrap_or_default();
    assert!(kept == drawn, "connectors/schema.json is not what the format is: run UPDATE=1 cargo test --test it schema");
}

#[test]
fn every_connector_file_fits_its_schema_and_a_wrong_one_does_not() {
    let schema = connector_schema();
    let read = |text: &str| serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = fs::read_dir(root.join("connectors")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.push(root.join("src/connect/file/tests/whole.toml"));
    assert!(files.len() >= 4, "{files:?}");
    for path in files {
        let faults = wrong(&schema, &schema, &read(&fs::read_to_string(&path).unwrap()), "");
        assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
    }
    let good = fs::read_to_string(root.join("connectors/webhook.toml")).unwrap();
    for (from, to, fault) in [
        ("format = 1", "format = \"1\"", "no integer"),
        ("connector = \"webhook\"", "", "connector is missing"),
        ("tolerance = \"5m\"", "tolerance = \"5 minutes\"", "does not match"),
        ("ingress = \"webhook\"", "ingress = \"mail\"", "of 3 forms"),
        ("records = \"$\"", "record = \"$\"", "unknown key record"),
    ] {
        let faults = wrong(&schema, &schema, &read(&good.replacen(from, to, 1)), "").join("\n");
        assert!(faults.contains(fault), "{to}: {faults}");
    }
}

#[test]
fn a_producers_mention_that_fits_its_schema_is_taken() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(root.join("docs/mention.schema.json")).unwrap()).unwrap();
    let taken = |mention: &Value| moksori::mention::Envelope::parse(mention.to_string().as_bytes()).is_ok();
    let least = json!({ "v": 1, "source": "pos:seoul-1", "native_id": "a-1", "first_seen_at": 1_795_000_000_000_i64,
        "author": { "native_id": "u-7", "handle": "u-7" } });
    let full = json!({ "v": 1, "op": "upsert", "source": "pos:seoul-1", "native_id": "a-2", "local_ref": null, "side": "customer",
        "conversation": "t", "parent": "a-1", "author": { "native_id": "u-7", "handle": "u", "name": "가온", "reach": 3 },
        "text": "포장이 찢어져 왔어요", "lang": "ko", "url": "https://pos.example.kr/a-2", "posted_at": 1_795_000_000_000_i64,
        "time_quality": "exact", "edited_at": null, "first_seen_at": 1_795_000_000_000_i64, "visibility": "public",
        "matched": [{ "brand": "shop", "account": "shop-mastodon", "addressed": true, "query": null }],
        "engagement": { "replies": 0, "shares": 1, "likes": 2 }, "media": ["https://pos.example.kr/a-2.jpg"] });
    let gone = json!({ "v": 1, "op": "delete", "source": "pos:seoul-1", "native_id": "a-1", "first_seen_at": 1 });
    for mention in [&least, &full, &gone] {
        assert_eq!(wrong(&schema, &schema, mention, ""), Vec::<String>::new());
        assert!(taken(mention), "{mention}");
    }
    let changed = |key: &str, value: Value| {
        let mut mention = full.clone();
        mention[key] = value;
        mention
    };
    for mention in [
        changed("v", json!(2)),
        changed("native_id", json!("")),
        changed("op", json!("insert")),
        changed("author", Value::Null),
        changed("colour", json!("red")),
        changed("posted_at", json!("2026-11-20T03:00:00Z")),
        changed("side", json!("theirs")),
    ] {
        assert!(!wrong(&schema, &schema, &mention, "").is_empty(), "{mention}");
        assert!(!taken(&mention), "{mention}");
    }
}
