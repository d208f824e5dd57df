//! Headless Chromium on the real console: the story that a person sees, and the pictures of each page.

mod console;
mod learning;
mod protection;
mod proxy;
mod screenshots;
mod story;
mod turns;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::http::Method;
use serde_json::{Value, json};
use thirtyfour::{
    ChromiumLikeCapabilities,
    common::command::{Command as Order, ExtensionCommand},
    prelude::*,
};

use crate::kit::Desk;

/// A chromedriver of our own; gone when it is dropped.
pub struct Chrome {
    process: Child,
    port: u16,
}

impl Chrome {
    /// Starts chromedriver on a free port.
    pub fn start() -> Chrome {
        let mut process = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed: scripts/setup.sh test");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        // Whoever stops reading stops chromedriver.
        std::thread::spawn(move || lines.for_each(drop));
        Chrome { process, port }
    }

    /// A window of its own profile, `width` pixels wide.
    pub async fn window(&self, width: u32, height: u32) -> WebDriver {
        self.window_with(width, height, json!({})).await
    }

    /// A window of its own profile with these preferences.
    pub async fn window_with(&self, width: u32, height: u32, preferences: Value) -> WebDriver {
        let mut caps = DesiredCapabilities::chrome();
        let profile = format!("--user-data-dir={}", tempfile::tempdir().unwrap().keep().display());
        for arg in [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &profile,
        ] {
            caps.add_arg(arg).unwrap();
        }
        if width < 500 {
            let phone = json!({ "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0, "touch": true } });
            caps.add_experimental_option("mobileEmulation", phone).unwrap();
        } else {
            caps.add_arg(&format!("--window-size={width},{height}")).unwrap();
        }
        caps.add_experimental_option("prefs", preferences).unwrap();
        caps.set("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" })).unwrap();
        let driver = WebDriver::new(format!("http://127.0.0.1:{}", self.port), caps).await.expect("Chromium starts");
        driver.set_page_load_timeout(Duration::from_secs(60)).await.unwrap();
        driver
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Signs a person in as they would: by a one-time link and its button.
pub async fn sign_in(desk: &Desk, driver: &WebDriver, initials: &str) {
    let viewer = desk.viewer(initials).await;
    let token = desk.app.desk.sign_in_link(viewer.id).await.unwrap();
    driver.goto(format!("{}{}", base(desk), moksori::web::link_path(&token))).await.unwrap();
    driver.query(By::Css("main form button.main")).first().await.unwrap().click().await.unwrap();
    if driver.query(By::Css("#rows")).first().await.is_err() {
        panic!("no queue after signing in: {}", driver.find(By::Tag("body")).await.unwrap().text().await.unwrap());
    }
}

/// Where the console is.
pub fn base(desk: &Desk) -> String {
    format!("http://{}", desk.app.address)
}

/// Sets a taste, as the switch in the menu does, and loads `path`.
pub async fn open(desk: &Desk, driver: &WebDriver, lang: &str, theme: &str, path: &str) {
    for (name, value) in [("lang", lang), ("theme", theme)] {
        let mut cookie = Cookie::new(name, value);
        cookie.set_path("/");
        driver.add_cookie(cookie).await.unwrap();
    }
    driver.goto(format!("{}{path}", base(desk))).await.unwrap();
}

/// Waits until `script` returns true, and says how long that took; fails after half a minute.
pub async fn until_page(driver: &WebDriver, what: &str, script: &str) -> Duration {
    #[expect(clippy::disallowed_methods, reason = "a real browser keeps real time")]
    let start = std::time::Instant::now();
    loop {
        let answer = driver.execute(script, Vec::new()).await.unwrap();
        if answer.json().as_bool() == Some(true) {
            return start.elapsed();
        }
        assert!(start.elapsed() < Duration::from_secs(90), "waited in vain until {what}");
        crate::kit::breathe().await;
    }
}

/// One command of the DevTools protocol.
#[derive(Debug)]
struct DevTools(Value);

impl ExtensionCommand for DevTools {
    fn parameters_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }

    fn method(&self) -> Method {
        Method::POST
    }

    fn endpoint(&self) -> std::sync::Arc<str> {
        "/goog/cdp/execute".into()
    }
}

/// Sends a command of the DevTools protocol.
pub async fn devtools(driver: &WebDriver, command: &str, parameters: Value) {
    let order = DevTools(json!({ "cmd": command, "params": parameters }));
    driver.cmd(Order::ExtensionCommand(Box::new(order))).await.unwrap();
}

/// Presses a key as a keyboard would: by its place `code`, with what the layout makes of it.
pub async fn key(driver: &WebDriver, code: &str, key: &str, more: Value) {
    for kind in ["keyDown", "keyUp"] {
        let mut event = json!({ "type": kind, "code": code, "key": key });
        if kind == "keyDown" && key.chars().count() == 1 {
            event["text"] = key.into();
        }
        for (name, value) in more.as_object().unwrap() {
            event[name] = value.clone();
        }
        devtools(driver, "Input.dispatchKeyEvent", event).await;
    }
}

/// What an expression of the page is once it is awaited.
pub async fn ask(driver: &WebDriver, expression: &str) -> Value {
    let script =
        format!("const done = arguments[arguments.length - 1]; (async () => {expression})().then(done, e => done(String(e)))");
    driver.execute_async(script, Vec::new()).await.unwrap().json().clone()
}

/// What the page's console holds of errors and of blocked content.
pub async fn complaints(driver: &WebDriver) -> Vec<String> {
    let log = driver.get_log("browser").await.unwrap_or_default();
    log.into_iter()
        .map(|entry| entry.message)
        .filter(|line| line.contains("Content Security Policy") || line.contains("Uncaught"))
        .collect()
}
