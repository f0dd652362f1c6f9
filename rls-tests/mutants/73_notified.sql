-- A trigger notifies every listener of each message.
-- class: objects anywhere
-- found by: rule 18_triggers
create function private.tell() returns trigger language plpgsql set search_path = '' as $$
begin
    perform pg_notify('messages', left(new.text, 100));
    return null;
end;
$$;
call private.expose('private', 'tell');
create trigger message_told after insert on duet.message for each row execute function private.tell();
