// Builds the dashboard into dist/, which cloud-api embeds. Text files get a Brotli twin, so that the
// server never compresses at run time.
import react from '@vitejs/plugin-react'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'
import { defineConfig } from 'vitest/config'
import type { Plugin } from 'vite'

function precompress(): Plugin {
  const pack = (folder: string) => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (statSync(path).isDirectory()) pack(path)
      else if (/\.(js|css|html|svg)$/.test(name)) {
        const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }
        writeFileSync(`${path}.br`, brotliCompressSync(readFileSync(path), options))
      }
    }
  }
  return {
    name: 'precompress',
    apply: 'build',
    closeBundle() {
      pack('dist')
    },
  }
}

export default defineConfig({
  plugins: [react(), precompress()],
  // No data: URLs and no inline helpers: the content security policy allows files only.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: 'es2022' },
  test: { environment: 'node', include: ['src/**/*.test.ts'] },
  // For work on the page alone: FOGLINE_URL names a running server.
  server: {
    proxy: process.env.FOGLINE_URL
      ? { '/v1': { target: process.env.FOGLINE_URL, secure: false, changeOrigin: true } }
      : {},
  },
})
