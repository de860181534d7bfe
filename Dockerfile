# One image for every process of a sale; what it runs is a management command. The load generator is
# an image of its own (`--target loadgen`):
#     docker run --rm IMAGE audit --json
# It runs with a read-only file system, a small /tmp and no right in the kernel. Which process runs in it is
# not known here, so its health is asked by whoever starts it: `healthy WORKER`, or /healthz of web and door.
# The servers are not in it: docker-compose.yml has them.

FROM python:3.13-slim AS dependencies
WORKDIR /build
COPY requirements-production.lock ./
# What a sale needs, each with its hash. Wheels only: nothing is compiled here. pip stays outside.
RUN python -m venv --without-pip /venv \
    && export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    && pip --python /venv install --require-hashes --only-binary=:all: -r requirements-production.lock \
    && pip --python /venv check

FROM python:3.13-slim AS common
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
RUN groupadd --gid 10001 seckill \
    && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin seckill
COPY --from=dependencies /venv /venv
WORKDIR /app
COPY manage.py config.yaml ./
COPY seckill_project seckill_project
COPY seckill seckill
# Static files are collected and code is compiled now: the file system is read-only later. Readable whatever the
# umask of the checkout was.
RUN DJANGO_SETTINGS_MODULE=seckill_project.settings python -c "import django; django.setup(); \
    from django.conf import settings; from seckill.web.static_files import use_hashed_files; \
    assert use_hashed_files(settings.COLLECTED_ROOT)"
RUN python -m compileall -q . && chmod -R a+rX .
USER 10001:10001
EXPOSE 3000
ENTRYPOINT ["python", "manage.py"]
CMD ["help"]

FROM common AS loadgen
USER 0:0
COPY loadgen loadgen
RUN python -m compileall -q loadgen && chmod -R a+rX loadgen
USER 10001:10001

FROM common AS sale
