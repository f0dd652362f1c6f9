use std::sync::Arc;

use duet_api::{
    http,
    models::{Models, ModelsConfig, ProviderConfig, ProviderKind},
    testing::ScriptedModel,
};
use duet_core::ports::{ChatMessage, ChatModel, ChatRequest, ModelDirectory as _, ModelError, ModelEvent};
use futures::StreamExt as _;

pub const KINDS: [ProviderKind; 3] = [ProviderKind::Anthropic, ProviderKind::OpenAi, ProviderKind::Ollama];

pub fn models(provider: ProviderConfig) -> Models {
    let config = ModelsConfig {
        providers: [("test".to_owned(), provider)].into(),
        ..ModelsConfig::default()
    };
    Models::from_config(&config, http::client().unwrap()).unwrap()
}

pub fn model_of(provider: ProviderConfig) -> Arc<dyn ChatModel> {
    models(provider).model(&"test/scripted".parse().unwrap()).unwrap()
}

pub fn model(server: &ScriptedModel, kind: ProviderKind) -> Arc<dyn ChatModel> {
    model_of(server.provider(kind))
}

pub fn ask(text: &str) -> ChatRequest {
    ChatRequest {
        system: "You are Duet.".into(),
        messages: vec![ChatMessage::User(text.into())],
        tools: vec![],
        max_output_tokens: 256,
    }
}

/// The events up to the end or the first error; an error before the first event counts the same.
pub async fn collect(model: &dyn ChatModel, request: ChatRequest) -> (Vec<ModelEvent>, Option<ModelError>) {
    let mut stream = match model.stream(request).await {
        Ok(stream) => stream,
        Err(error) => return (vec![], Some(error)),
    };
    let mut events = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => {
                assert!(stream.next().await.is_none(), "nothing comes after an error");
                return (events, Some(error));
            }
        }
    }
    assert_eq!(events.iter().filter(|event| matches!(event, ModelEvent::Stop(_))).count(), 1);
    (events, None)
}

pub fn text_of(events: &[ModelEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            ModelEvent::Text(text) => Some(text.as_str()),
            _ => None,
        })
        .collect()
}
