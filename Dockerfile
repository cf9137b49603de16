# The service alone; Redis and MariaDB run beside it (compose.yaml).
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    ADMIN_HOST=0.0.0.0 \
    STAMPEDE_DIR=/var/lib/stampede
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/bin ./bin
COPY --from=build /app/dist ./dist
# Read as data at run time.
COPY --from=build /app/lua ./lua
COPY --from=build /app/workers/migrations ./workers/migrations
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/stampede
USER node
VOLUME /var/lib/stampede
EXPOSE 8080 9464
CMD ["node", "bin/stampede.js", "start"]
