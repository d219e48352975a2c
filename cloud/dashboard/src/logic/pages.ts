// A long list shown page by page, by the API's own cursor: the last id of the page before.

/** Gateways a page: each card asks for its own devices, series and values. */
export const GATEWAYS_A_PAGE = 25

export interface Page<T> {
  shown: T[]
  /** Cursor of the next page; undefined on the last one. */
  next: string | undefined
}

/** Splits what was asked for with a limit of one more than a page. */
export function pageOf<T extends { id: string }>(list: T[], size: number): Page<T> {
  const shown = list.slice(0, size)
  return { shown, next: list.length > size ? shown.at(-1)?.id : undefined }
}
