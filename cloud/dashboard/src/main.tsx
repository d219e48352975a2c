import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Problem } from './api/client'
import { live } from './api/live'
import { App } from './app'
import './styles/base.css'
import { applyTheme } from './theme'

applyTheme()

const client = new QueryClient({
  queryCache: new QueryCache({
    onError(error, query) {
      // The session ended somewhere: everything on the page is asked for again after logging in.
      if (error instanceof Problem && error.status === 401 && query.queryKey[0] !== 'me') {
        void client.invalidateQueries({ queryKey: ['me'] })
      }
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 2000,
      retry: (count, error) =>
        count < 2 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
    },
  },
})

// What the live stream says about lists and gaps becomes fresh questions.
live.onChange((what) => {
  if (what === 'gap') void client.invalidateQueries()
  if (what === 'events') {
    void client.invalidateQueries({ queryKey: ['events'] })
    void client.invalidateQueries({ queryKey: ['devices'] })
    void client.invalidateQueries({ queryKey: ['gateways'] })
  }
  if (what === 'alarms') {
    void client.invalidateQueries({ queryKey: ['alarms'] })
    void client.invalidateQueries({ queryKey: ['alarm-counts'] })
    void client.invalidateQueries({ queryKey: ['gateways-after'] })
  }
  if (what === 'ledger') void client.invalidateQueries({ queryKey: ['ledger'] })
})

const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={client}>
        <App />
      </QueryClientProvider>
    </StrictMode>,
  )
}
