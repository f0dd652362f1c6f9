use super::*;

fn models(toml: &str) -> anyhow::Result<Models> {
    Models::from_config(&toml::from_str(toml)?, http::client()?)
}

fn model(models: &Models, name: &str) -> Result<Arc<dyn ChatModel>, ModelError> {
    models.model(&name.parse().unwrap())
}

#[test]
fn the_default_is_the_offline_fallback() {
    let models = models("").unwrap();
    assert_eq!(models.default_model(), offline_ref());
    let offline = model(&models, "offline/rules").unwrap();
    assert_eq!(
        (offline.locality(), offline.price()),
        (Locality::Local, Some(Price::default()))
    );
    assert_eq!(models.provider_names(), ["offline", "anthropic", "ollama", "openai"]);
}

#[test]
fn unknown_names_say_what_to_do() {
    let models = models("").unwrap();
    let error = model(&models, "groq/llama").err().unwrap();
    assert_eq!(error.failure, ModelFailure::UnknownModel);
    for part in [
        "groq/llama",
        "`offline`, `anthropic`, `ollama`, `openai`",
        "[models.providers.groq]",
    ] {
        assert!(error.in_full().contains(part), "{}", error.in_full());
    }
    assert!(!error.message.contains('`'), "{}", error.message);
    assert!(model(&models, "offline/gpt").err().unwrap().message.contains("offline/rules"));
}

#[test]
fn locality_and_price_follow_the_address_and_the_owner() {
    let models = models(
        r#"
        default = "ollama/llama3.2"
        [providers.gpu]
        kind = "ollama"
        base_url = "http://gpu.example:11434"
        [providers.lan]
        kind = "openai"
        base_url = "http://gpu.example:8000/v1"
        local = true
        [providers.tunnel]
        kind = "openai"
        base_url = "http://127.0.0.1:9000/v1"
        local = false
        [providers.tunnel.prices]
        "big-*" = { input = 1000000, output = 2000000 }
        "#,
    )
    .unwrap();
    let table = [
        ("ollama/llama3.2", Locality::Local, Some(0)),
        ("ollama/gpt-oss:120b-cloud", Locality::Remote, None),
        ("ollama/glm-4.6:cloud", Locality::Remote, None),
        ("gpu/llama3.2", Locality::Remote, None),
        ("lan/qwen", Locality::Local, Some(0)),
        ("tunnel/big-1", Locality::Remote, Some(1_000_000)),
        ("anthropic/claude-sonnet-4-5", Locality::Remote, Some(3_000_000)),
        ("openai/gpt-4o-mini", Locality::Remote, Some(150_000)),
        ("openai/gpt-99", Locality::Remote, None),
    ];
    for (name, locality, input) in table {
        let model = model(&models, name).unwrap();
        assert_eq!(
            (model.locality(), model.price().map(|price| price.input)),
            (locality, input),
            "{name}"
        );
    }
}

#[test]
fn a_wrong_configuration_is_refused_with_its_setting_and_without_the_key() {
    let table = [
        ("default = \"nowhere/x\"", "models.default"),
        (
            "[providers.x]\nkind = \"openai\"\nbase_url = \"ftp://h\"",
            "models.providers.x",
        ),
        ("[providers.x]\nkind = \"openai\"\napi_key = \"sk-canary\"", "env:NAME"),
        (
            "[providers.x]\nkind = \"openai\"\nbase_url = \"https://u:canary@h\"",
            "api_key",
        ),
        ("[providers.offline]\nkind = \"ollama\"", "built-in fallback"),
        ("[providers.x]\nkind = \"ollama\"\ntimeout_seconds = 0", "timeout_seconds"),
        ("[providers.x]\nkind = \"gemini\"", "gemini"),
        ("[providers.x]\nkind = \"openai\"\nmodle = \"y\"", "modle"),
    ];
    for (config, part) in table {
        let message = format!("{:#}", models(config).err().unwrap());
        assert!(message.contains(part) && !message.contains("canary"), "{config}: {message}");
    }
}

#[tokio::test]
async fn a_missing_key_names_the_variable() {
    let unset =
        "[providers.x]\nkind = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key = \"env:DUET_TEST_SURELY_UNSET\"";
    let models = models(unset).unwrap();
    let error = models.check(&"x/y".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.failure, ModelFailure::Unauthorized);
    assert!(error.in_full().contains("env:DUET_TEST_SURELY_UNSET"), "{}", error.in_full());
}
