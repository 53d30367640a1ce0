//! The pages as people use them: a headless Chromium before the local host, the fake GitLab and
//! real Terraform. The tests are all that there is here; `setup.sh` finds or installs what they
//! need.
