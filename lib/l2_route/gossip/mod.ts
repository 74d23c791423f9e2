/** How advertisements spread. */
export * from "./advert_store.ts";
export { followAdverts } from "./follow.ts";
