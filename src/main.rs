//! The `moksori` program; everything it does is in the library.

fn main() -> std::process::ExitCode {
    match moksori::cli::main() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("moksori: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
