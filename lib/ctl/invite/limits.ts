/** Limits of invites; a test compares them with the admin API's. Apart, to keep starts quick. */
export const INVITE_USES_MAX = 10_000;
/** A month. */
export const INVITE_LIFE_S_MAX = 30 * 86_400;
