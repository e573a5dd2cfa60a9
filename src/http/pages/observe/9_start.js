"use strict";
show();
