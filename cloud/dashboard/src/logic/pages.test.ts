import { describe, expect, it } from 'vitest'
import { pageOf } from './pages'

const ids = (...list: string[]) => list.map((id) => ({ id }))

describe('pages of a list', () => {
  it('go on behind the last one shown while there is more', () => {
    const page = pageOf(ids('a', 'b', 'c'), 2)
    expect(page.shown).toEqual(ids('a', 'b'))
    expect(page.next).toBe('b')
  })

  it('end where nothing is left, also when the last page is full', () => {
    expect(pageOf(ids('a', 'b'), 2).next).toBeUndefined()
    expect(pageOf(ids('a'), 2)).toEqual({ shown: ids('a'), next: undefined })
    expect(pageOf([], 2)).toEqual({ shown: [], next: undefined })
  })
})
