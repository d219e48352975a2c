// Light, dark, or as the system says; remembered on this machine.
export type Theme = 'system' | 'light' | 'dark'

const KEY = 'fogline-theme'

export function theme(): Theme {
  try {
    const kept = localStorage.getItem(KEY)
    return kept === 'light' || kept === 'dark' ? kept : 'system'
  } catch {
    return 'system'
  }
}

export function setTheme(next: Theme) {
  try {
    localStorage.setItem(KEY, next)
  } catch {
    // Not remembered: storage may be forbidden.
  }
  applyTheme(next)
}

export function applyTheme(next: Theme = theme()) {
  if (next === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = next
  window.dispatchEvent(new Event('fogline-theme'))
}
