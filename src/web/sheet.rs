//! Lines of an export as a file: JSON Lines, CSV, or a workbook for a spreadsheet program.
//!
//! Strangers wrote these texts. A spreadsheet program runs a cell that begins like a formula, so in CSV such
//! a cell gets an apostrophe in front; in a workbook every text is stored as text.

use rust_xlsxwriter::{Format, Workbook, XlsxError};
use serde_json::Value;

/// The columns, in their order: the keys of a line.
pub const COLUMNS: [&str; 14] = [
    "case",
    "mention",
    "posted_at",
    "platform",
    "account",
    "lang",
    "label",
    "status",
    "team",
    "answered_by",
    "answered_seconds",
    "disposition",
    "reach",
    "text",
];

/// The most characters that a workbook's cell takes.
const CELL: usize = 32_767;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sheet {
    /// Comma-separated, UTF-8 with a byte order mark, lines end in CR LF.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// A workbook with one sheet.
    Xlsx,
}

impl Sheet {
    /// The kind whose file name ends so.
    pub fn parse(ending: &str) -> Option<Sheet> {
        [Sheet::Csv, Sheet::JsonLines, Sheet::Xlsx].into_iter().find(|kind| kind.ending() == ending)
    }

    /// What the file's name ends in.
    pub fn ending(self) -> &'static str {
        match self {
            Sheet::Csv => "csv",
            Sheet::JsonLines => "jsonl",
            Sheet::Xlsx => "xlsx",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Sheet::Csv => "text/csv; charset=utf-8",
            Sheet::JsonLines => "application/jsonl; charset=utf-8",
            Sheet::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }

    /// The file with these lines, each a JSON object with the keys of [`COLUMNS`]. Blocking: a workbook of
    /// 50,000 rows takes seconds.
    ///
    /// # Errors
    /// When a workbook cannot be made.
    pub fn write<'l>(self, lines: impl Iterator<Item = &'l str>) -> Result<Vec<u8>, XlsxError> {
        let rows = lines.filter_map(|line| Some((line, serde_json::from_str::<Value>(line).ok()?)));
        match self {
            Sheet::JsonLines => Ok(rows.fold(Vec::new(), |mut file, (line, _)| {
                file.extend_from_slice(line.as_bytes());
                file.push(b'\n');
                file
            })),
            Sheet::Csv => {
                let head = COLUMNS.join(",");
                let file = format!("\u{feff}{head}\r\n");
                let rows = rows.map(|(_, row)| COLUMNS.map(|column| quoted(&plain(&row[column]))).join(",") + "\r\n");
                Ok(rows.fold(file, |file, row| file + &row).into_bytes())
            }
            Sheet::Xlsx => workbook(rows.map(|(_, row)| row)),
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A cell of CSV that no spreadsheet program takes for a formula.
fn quoted(text: &str) -> String {
    let risky = text
        .trim_start_matches([' ', '\u{feff}', '\u{a0}', '\u{3000}'])
        .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '＝', '＋', '－', '＠']);
    let guard = if risky { "'" } else { "" };
    if text.contains(['"', ',', '\n', '\r']) || risky {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn workbook(rows: impl Iterator<Item = Value>) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = Workbook::new();
    let bold = Format::new().set_bold();
    let sheet = workbook.add_worksheet();
    sheet.set_freeze_panes(1, 0)?;
    for (column, name) in (0_u16..).zip(COLUMNS) {
        sheet.write_string_with_format(0, column, name, &bold)?;
        sheet.set_column_width(column, if name == "text" { 80 } else { 14 })?;
    }
    for (at, row) in (1_u32..).zip(rows) {
        for (column, name) in (0_u16..).zip(COLUMNS) {
            match &row[name] {
                Value::Null => {}
                Value::Number(number) => {
                    sheet.write_number(at, column, number.as_f64().unwrap_or(0.0))?;
                }
                other => {
                    let text: String = plain(other).chars().filter(|c| !c.is_control() || *c == '\n').take(CELL).collect();
                    sheet.write_string(at, column, text)?;
                }
            }
        }
    }
    workbook.save_to_buffer()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let mut line = serde_json::json!({ "case": 7, "mention": 9, "posted_at": "2026-11-20T03:00:00.000Z", "reach": 12 });
        line["text"] = text.into();
        line.to_string()
    }

    #[test]
    fn a_cell_that_would_run_is_defused_and_no_text_breaks_its_row() {
        for (text, cell) in [
            ("배송이 늦어요", "배송이 늦어요"),
            ("=1+1", "\"'=1+1\""),
            ("  =cmd|' /C calc'!A0", "\"'  =cmd|' /C calc'!A0\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("-2", "\"'-2\""),
            ("+82", "\"'+82\""),
            ("\t=1", "\"'\t=1\""),
            ("＝1", "\"'＝1\""),
            ("그는 \"네\", 라고", "\"그는 \"\"네\"\", 라고\""),
            ("둘째\n줄", "\"둘째\n줄\""),
        ] {
            let file = String::from_utf8(Sheet::Csv.write([line(text).as_str()].into_iter()).unwrap()).unwrap();
            let row = file.strip_prefix("\u{feff}").unwrap().split_once("\r\n").unwrap().1;
            assert_eq!(row, format!("7,9,2026-11-20T03:00:00.000Z,,,,,,,,,,12,{cell}\r\n"), "{text}");
        }
    }

    #[test]
    fn each_kind_of_file_holds_every_row() {
        let lines: Vec<String> = (0..1_000).map(|number| line(&format!("=글 {number} \u{1}\u{feff}"))).collect();
        let all = || lines.iter().map(String::as_str);
        let jsonl = String::from_utf8(Sheet::JsonLines.write(all()).unwrap()).unwrap();
        assert!(jsonl.lines().count() == 1_000 && jsonl.lines().zip(&lines).all(|(one, other)| one == other));
        let book = Sheet::Xlsx.write(all()).unwrap();
        assert!(book.starts_with(b"PK") && book.len() > 10_000, "{}", book.len());
        for kind in [Sheet::Csv, Sheet::JsonLines, Sheet::Xlsx] {
            assert_eq!(Sheet::parse(kind.ending()), Some(kind));
        }
        assert_eq!(Sheet::parse("exe"), None);
    }
}
