-- For development on one machine alone: `supabase start` and `supabase db reset` run it after the migrations, `supabase db push` does
-- not. The server's login gets a password that everybody knows; on a hosted project `duet-api migrate --worker-password-stdin` sets one.
alter role duet_worker password 'duet_worker';
