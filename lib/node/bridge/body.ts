/** Request bodies of the bridge: a JSON object, or an error in OpenAI's form. */
import { clip, errorMessage } from "../../base/mod.ts";
import { type BodyErrors, readBytes, saysJson } from "../http/body.ts";
import { HttpError, invalid } from "./errors.ts";

/** A prompt with several large images; OpenAI's own limit is of this order. */
export const BODY_BYTES_MAX = 32 * 1024 * 1024;

/** The JSON object in the body. 415, 413, and 400 where it is not one. */
export async function readJsonObject(
  request: Request,
  bytesMax: number,
): Promise<Record<string, unknown>> {
  if (!saysJson(request)) {
    const type = request.headers.get("content-type") ?? "";
    throw new HttpError(
      415,
      "unsupported_media_type",
      `cannot read request: content-type is "${clip(type)}", expected application/json`,
    );
  }
  const bytes = await readBytes(request, bytesMax, BODY_ERRORS);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid(null, `cannot read request: ${clip(errorMessage(error), 120)}`, "invalid_json");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(null, "cannot read request: body is not a JSON object", "invalid_json");
  }
  return value as Record<string, unknown>;
}

const BODY_ERRORS: BodyErrors = {
  tooLarge: (bytesMax) =>
    new HttpError(
      413,
      "request_too_large",
      `cannot read request: body is larger than ${bytesMax} bytes`,
      // What was not read would stand before the client's next request.
      { headers: { connection: "close" } },
    ),
  brokenOff: (cause) =>
    new HttpError(400, "invalid_json", "cannot read request: body breaks off", { cause }),
};
