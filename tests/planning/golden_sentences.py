# ruff: noqa: E501 - golden texts stand unbroken
"""What is said of one result of every variant, word for word."""

from typing import Final

GOLDEN: Final = {
    "plan.years_missing": (
        "照现在的打算，您63岁2个月退休以后，养老保险始终还差2年6个月才满规定的年限，领不到每月的基本养老金。那样每月到手只有大约8,234元（按今天的物价算），所以最要紧的是把年限缴够。",
        "If you retire at 63 years and 2 months as things stand, you will still be 2 years and 6 months short of the years that the basic pension asks for, and it will not be paid. You would then have only about 8,234 yuan a month in today's prices, so the first thing to do is to pay in for the missing years.",
    ),
    "plan.retired_short": (
        "您现在每月到手大约8,234元（按今天的物价算）。照每月要花1万元算，从75岁起会有钱不够的月份，那些月份平均每月差1,235元。",
        "You have about 8,234 yuan a month to live on, in today's prices. If you need 10,000 yuan a month, there will be months from the age of 75 on when money runs short, by 1,235 yuan on average.",
    ),
    "plan.retired_short_otherwise": (
        "您现在每月到手大约8,234元（按今天的物价算）。不过照现在的打算，从75岁起会有钱不够的月份，那些月份平均每月差1,235元。",
        "You have about 8,234 yuan a month to live on, in today's prices. As things stand, though, there will be months from the age of 75 on when money runs short, by 1,235 yuan on average.",
    ),
    "plan.retired_covered": (
        "您现在每月到手大约8,234元（按今天的物价算）。照每月要花6,000元算，连同存款，够您用到100岁。",
        "You have about 8,234 yuan a month to live on, in today's prices. Together with your savings, that covers the 6,000 yuan a month you need, up to the age of 100.",
    ),
    "plan.retired_untold": (
        "您现在每月到手大约8,234元（按今天的物价算）。告诉我们您每月要花多少，就能算出这些钱够用到什么时候。",
        "You have about 8,234 yuan a month to live on, in today's prices. Tell us how much you need a month, and we can say how long your money will last.",
    ),
    "plan.short": (
        "您63岁2个月退休后，每月到手大约8,234元（按今天的物价算）。照每月要花1万元算，从75岁起会有钱不够的月份，那些月份平均每月差1,235元。",
        "If you retire at 63 years and 2 months, you will have about 8,234 yuan a month to live on, in today's prices. If you need 10,000 yuan a month, there will be months from the age of 75 on when money runs short, by 1,235 yuan on average.",
    ),
    "plan.short_otherwise": (
        "您63岁2个月退休后，每月到手大约8,234元（按今天的物价算）。不过照现在的打算，从41岁8个月起会有钱不够的月份，那些月份平均每月差1,235元。",
        "If you retire at 63 years and 2 months, you will have about 8,234 yuan a month to live on, in today's prices. As things stand, though, there will be months from the age of 41 years and 8 months on when money runs short, by 1,235 yuan on average.",
    ),
    "plan.covered": (
        "您63岁2个月退休后，每月到手大约8,234元（按今天的物价算）。照每月要花6,000元算，连同存款，够您用到100岁。",
        "If you retire at 63 years and 2 months, you will have about 8,234 yuan a month to live on, in today's prices. Together with your savings, that covers the 6,000 yuan a month you need, up to the age of 100.",
    ),
    "plan.compared": (
        "您63岁2个月退休后，每月到手大约8,234元（按今天的物价算）。这大约是您上班最后一年每月到手工资的64.2%。",
        "If you retire at 63 years and 2 months, you will have about 8,234 yuan a month to live on, in today's prices. That is about 64.2% of what you take home in your last year of work.",
    ),
    "plan.untold": (
        "您63岁2个月退休后，每月到手大约8,234元（按今天的物价算）。告诉我们您每月要花多少，就能算出这些钱够用到什么时候。",
        "If you retire at 63 years and 2 months, you will have about 8,234 yuan a month to live on, in today's prices. Tell us how much you need a month, and we can say how long your money will last.",
    ),
    "uncertainty.untold": (
        "我们设想了2,000种可能的将来，年景有好有坏。十次里有九次，您接下来一年每月到手在6,500元到11,234元之间（按今天的物价算）。",
        "We looked at 2,000 possible futures, with good years and bad ones. Nine times in ten, your monthly income in the coming year lies between 6,500 yuan and 11,234 yuan in today's prices.",
    ),
    "uncertainty.never": (
        "我们设想了2,000种可能的将来，年景有好有坏，您有生之年的钱每一次都够花。十次里有九次，您刚退休时每月到手在6,500元到11,234元之间（按今天的物价算）。",
        "We looked at 2,000 possible futures, with good years and bad ones, and your money lasted for life every time. Nine times in ten, your monthly income when you retire lies between 6,500 yuan and 11,234 yuan in today's prices.",
    ),
    "uncertainty.rarely": (
        "我们设想了2,000种可能的将来，年景有好有坏，100次里不到一次会出现钱不够花的时候。十次里有九次，您刚退休时每月到手在6,500元到11,234元之间（按今天的物价算）。",
        "We looked at 2,000 possible futures, with good years and bad ones, and money ran short in fewer than one in 100 of them. Nine times in ten, your monthly income when you retire lies between 6,500 yuan and 11,234 yuan in today's prices.",
    ),
    "uncertainty.sometimes": (
        "我们设想了2,000种可能的将来，年景有好有坏，100次里大约有9次会出现钱不够花的时候。十次里有九次，您刚退休时每月到手在6,500元到11,234元之间（按今天的物价算）。",
        "We looked at 2,000 possible futures, with good years and bad ones, and money ran short in about 9 out of 100 of them. Nine times in ten, your monthly income when you retire lies between 6,500 yuan and 11,234 yuan in today's prices.",
    ),
    "uncertainty.mostly": (
        "我们设想了2,000种可能的将来，100次里大约有99次会出现钱不够花的时候，所以这个打算最好改一改。十次里有九次，您刚退休时每月到手在6,500元到11,234元之间（按今天的物价算）。",
        "We looked at 2,000 possible futures and money ran short in about 99 out of 100 of them, so this plan should be changed. Nine times in ten, your monthly income when you retire lies between 6,500 yuan and 11,234 yuan in today's prices.",
    ),
    "what_if.same": (
        "选“再干三年”和选“60岁退休”，您拿到的钱一样多。这两种打算在税和收益上也没有差别。",
        "With “再干三年” you get just as much money as with “60岁退休”. There is no difference in taxes or returns either.",
    ),
    "what_if.put_by": (
        "选“再干三年”和选“60岁退休”，领到手的钱一样多，差别在您自己的存款上。连同存款，选前一种的话，退休后一直到100岁每月能多花300元（按今天的物价算）。",
        "“再干三年” and “60岁退休” bring you the same income, and what differs is what you have saved yourself. With the first, savings included, you can spend 300 yuan more a month from retirement up to the age of 100, in today's prices.",
    ),
    "what_if.better": (
        "选“再干三年”比“60岁退休”划算，退休后每月多拿800元，到100岁一共多拿123,456元（按今天的物价算）。总数的差别里，多交税1.2万元，收益多了5.67万元，其余是工资、缴费和养老金本身的变化。",
        "“再干三年” leaves you better off than “60岁退休”, with 800 yuan more a month after you retire and 123,456 yuan more in total up to the age of 100, in today's prices. Within that total, taxes leave you 12,000 yuan less and returns bring you 56,700 yuan more, and the rest comes from wages, payments and pensions themselves.",
    ),
    "what_if.worse": (
        "选“再干三年”不如“60岁退休”，退休后每月少拿800元，到100岁一共少拿123,456元（按今天的物价算）。总数的差别里，少交税1.2万元，收益一样多，其余是工资、缴费和养老金本身的变化。",
        "“再干三年” leaves you worse off than “60岁退休”, with 800 yuan less a month after you retire and 123,456 yuan less in total up to the age of 100, in today's prices. Within that total, taxes leave you 12,000 yuan more and returns make no difference, and the rest comes from wages, payments and pensions themselves.",
    ),
    "what_if.mixed": (
        "选“再干三年”和“60岁退休”各有好处，选前一种退休后每月多拿800元，到100岁一共少拿123,456元（按今天的物价算）。总数的差别里，多交税1.2万元，收益多了5.67万元，其余是工资、缴费和养老金本身的变化。",
        "“再干三年” and “60岁退休” each have their good side, as the first brings 800 yuan more a month after you retire and 123,456 yuan less in total up to the age of 100, in today's prices. Within that total, taxes leave you 12,000 yuan less and returns bring you 56,700 yuan more, and the rest comes from wages, payments and pensions themselves.",
    ),
    "sensitivity.nothing": (
        "我们试了1种小变化，您退休后每月可用的钱都不受影响。可以放心照现在的打算走。",
        "We tried 1 small change, and your monthly income in retirement stays the same. You can keep to your plan.",
    ),
    "sensitivity.both": (
        "我们试过的变化里，帮助最大的是晚一年退休，退休后每月可用的钱能多612元（按今天的物价算）。最要提防的是物价每年多涨1个百分点，每月会少900元。",
        "Of all the changes we tried, what helps most is retiring one year later, which brings 612 yuan more a month in retirement, in today's prices. What hurts most is prices that rise by one percentage point more each year, which takes away 900 yuan a month.",
    ),
    "sensitivity.gain": (
        "我们试过的变化里，帮助最大的是每月多存500元，退休后每月可用的钱能多612元（按今天的物价算）。没有哪一种会让您的钱变少。",
        "Of all the changes we tried, what helps most is saving 500 yuan more a month, which brings 612 yuan more a month in retirement, in today's prices. None of them leaves you with less.",
    ),
    "sensitivity.loss": (
        "我们试过的变化里，最要提防的是多歇一年不上班，退休后每月可用的钱会少900元（按今天的物价算）。没有哪一种能让您的钱变多。",
        "Of all the changes we tried, what hurts most is one more year without work, which takes away 900 yuan a month in retirement, in today's prices. None of them brings you more.",
    ),
    "solve.reached": (
        "您的目标是一直到100岁每月都能花8,000元（按今天的物价算）。要做到这一点，至少要每年存2.4万元。",
        "Your goal is 8,000 yuan a month to spend up to the age of 100, in today's prices. To get there, you need at least to save 24,000 yuan a year.",
    ),
    "solve.reached_without": (
        "您的目标是一直到100岁每月都能花8,000元（按今天的物价算）。这里一分钱都不用存就能达到，每月会有8,100元。",
        "Your goal is 8,000 yuan a month to spend up to the age of 100, in today's prices. You get there without putting anything in here, as you will have 8,100 yuan a month.",
    ),
    "solve.already": (
        "您的目标是一直到100岁每月都能花8,000元（按今天的物价算）。什么都不用多做就能达到，照现在的打算每月会有8,500元。",
        "Your goal is 8,000 yuan a month to spend up to the age of 100, in today's prices. You get there without doing anything more, as you will have 8,500 yuan a month.",
    ),
    "solve.out_of_reach": (
        "您的目标是刚退休时每月到手8,000元（按今天的物价算），光靠这一个办法达不到。哪怕每月把工资的12.5%存起来，最多也只有每月7,000元。",
        "Your goal is 8,000 yuan a month in the first year of retirement, in today's prices, and this alone does not get you there. The most you can have is 7,000 yuan a month, putting aside 12.5% of your wage each month.",
    ),
    "solve.no_help": (
        "您的目标是一直到100岁每月都能花8,000元（按今天的物价算），光靠这一个办法达不到。这样多存也多不出钱来，最多就是每月7,000元。",
        "Your goal is 8,000 yuan a month to spend up to the age of 100, in today's prices, and this alone does not get you there. Putting more in this way adds nothing, and the most you can have is 7,000 yuan a month.",
    ),
    "allocation.worth": (
        "今年要存的5万元里，建议把1.2万元放进个人养老金账户，今年能少交税2,400元。剩下的3.8万元放在别处，这样安排比全放银行活期一共多得大约12,345元。",
        "Of the 50,000 yuan you save this year, put 12,000 yuan into the personal pension account, which saves you 2,400 yuan of tax this year. The other 38,000 yuan goes elsewhere, and in all this brings about 12,345 yuan more than leaving everything in the bank account.",
    ),
    "allocation.worth_all": (
        "今年要存的1万元，建议全部放进个人养老金账户，今年能少交税2,000元。这样安排比全放银行活期一共多得大约3,000元，不过这笔钱要到退休才能领。",
        "Put all of the 10,000 yuan you save this year into the personal pension account, which saves you 2,000 yuan of tax this year. In all this brings about 3,000 yuan more than leaving it in the bank account, but you can draw it only when you retire.",
    ),
    "allocation.untaxed": (
        "今年要存的5万元里，把1万元放进个人养老金账户，不过这样省不了税，领的时候还要交税。这样安排比全放银行活期一共多得大约12,345元。",
        "Of the 50,000 yuan you save this year, 10,000 yuan goes into the personal pension account, although that saves you no tax now and you are taxed when you draw it. In all this brings about 12,345 yuan more than leaving everything in the bank account.",
    ),
    "allocation.costs": (
        "您今年的收入不用交多少税，往个人养老金账户存1.2万元反而要亏360元，所以今年别用它。今年要存的2万元，建议把最大的一份放进“三年期储蓄国债”。",
        "You pay little or no tax this year, so paying 12,000 yuan into the personal pension account would only cost you 360 yuan, and you should not do it. Of the 20,000 yuan you save this year, the largest part should go to “three-year savings bonds”.",
    ),
    "allocation.keep": (
        "今年要存的2万元，建议先把2万元留在随时能取的银行账户里。手边有一笔应急的钱，比多拿一点收益更要紧。",
        "Of the 20,000 yuan you save this year, keep 20,000 yuan in a bank account that you can draw from at any time. Money at hand for an emergency matters more than a little more interest.",
    ),
    "allocation.plain": (
        "今年要存的2万元里，建议把1.5万元放进“债券基金”。这样安排比全放银行活期一共多得大约400元。",
        "Of the 20,000 yuan you save this year, put 15,000 yuan into “Bond fund”. In all this brings about 400 yuan more than leaving everything in the bank account.",
    ),
    "tax.no_payment": (
        "您今年的收入要交税12,080元。往个人养老金账户存钱能少交一些，填上打算存多少就能看到。",
        "You pay 12,080 yuan of tax on this year's income. Paying into the personal pension account may lower it, so tell us an amount and we will show you.",
    ),
    "tax.no_tax": (
        "您今年的收入不用交税。往个人养老金账户存钱省不了税，以后领的时候反而要交税。",
        "You pay no tax on this year's income. Paying into the personal pension account would save you nothing now, and you would be taxed when you draw the money.",
    ),
    "tax.worth": (
        "您今年往个人养老金账户存1.2万元，能少交税2,400元，以后领这笔钱时要交税360元。一来一去您省下2,040元，划算。",
        "Paying 12,000 yuan into the personal pension account saves you 2,400 yuan of tax this year, and costs 360 yuan of tax when you draw the money. That leaves you 2,040 yuan better off, so it is worth it.",
    ),
    "tax.even": (
        "您今年往个人养老金账户存1.2万元，能少交税360元，以后领这笔钱时也要交税360元。一来一去正好抵消，在税上不赚也不亏。",
        "Paying 12,000 yuan into the personal pension account saves you 360 yuan of tax this year, and costs 360 yuan of tax when you draw the money. The two cancel out, so as far as tax goes you neither win nor lose.",
    ),
    "tax.costs": (
        "您今年往个人养老金账户存1.2万元，只能少交税300元，以后领这笔钱时却要交税360元。一来一去反而亏60元，不划算。",
        "Paying 12,000 yuan into the personal pension account saves you only 300 yuan of tax this year, but costs 360 yuan of tax when you draw the money. That leaves you 60 yuan worse off, so it is not worth it.",
    ),
    "retirement.reached": (
        "按规定您在2039年11月已经到了退休年龄61岁8个月。如果还没有领养老金，现在就可以去办手续了。",
        "By law you reached retirement age, 61 years and 8 months, in November 2039. If you do not draw your pension yet, you can apply for it now.",
    ),
    "retirement.years_missing": (
        "按规定您61岁8个月退休，也就是2039年11月，可是养老保险还差7个月才满规定的年限。要把差的年限缴够，才能每月领养老金。",
        "By law you retire at 61 years and 8 months, in November 2039, but you are 7 months short of the years that the basic pension asks for. You have to pay in for the missing time before a monthly pension is paid.",
    ),
    "retirement.too_early": (
        "按规定您61岁8个月退休，也就是2039年11月。想在2038年5月就退休的话，养老保险还差2个月才满规定的年限，那时还不能退。",
        "By law you retire at 61 years and 8 months, in November 2039. You cannot go as early as May 2038, as you would be 2 months short of the years that the basic pension asks for.",
    ),
    "retirement.window": (
        "按规定您61岁8个月退休，也就是2039年11月。您可以自己选择提前，最早60岁，单位同意的话也可以推迟，最晚64岁8个月。",
        "By law you retire at 61 years and 8 months, in November 2039. You may choose to go earlier, from 60 on, or later if your employer agrees, up to 64 years and 8 months.",
    ),
    "retirement.later_only": (
        "按规定您61岁8个月退休，也就是2039年11月。您不能提前退休，单位同意的话可以推迟，最晚64岁8个月。",
        "By law you retire at 61 years and 8 months, in November 2039. You cannot go earlier, but you may go later if your employer agrees, up to 64 years and 8 months.",
    ),
    "retirement.fixed": (
        "按规定您61岁8个月退休，也就是2039年11月。这个时间不能自己选早或者选晚。",
        "By law you retire at 61 years and 8 months, in November 2039. You cannot choose an earlier or a later month.",
    ),
    "move.free": (
        "企业年金里的12万元可以转到企业年金保留账户。转的时候不用交税，一分不少。",
        "You may move 120,000 yuan from the company pension to the kept company pension. No tax is taken, so all of it arrives.",
    ),
    "move.taxed": (
        "企业年金里的12万元可以转到您自己的银行卡，要交税1,080元。交完税到账118,920元。",
        "You may move 120,000 yuan from the company pension to your own bank card, and 1,080 yuan of tax is taken. What arrives is 118,920 yuan.",
    ),
    "move.two_steps": (
        "企业年金里的钱不能直接转到个人养老金账户，要先领出来12万元，交税360元。然后再存进去1.2万元，这要算在今年的限额里。",
        "Money cannot go straight from the company pension to the personal pension account, so you first draw 120,000 yuan and pay 360 yuan of tax. Then you pay in 12,000 yuan, which counts towards this year's limit.",
    ),
    "move.tax_open": (
        "企业年金里的12万元可以转到商业养老保险产品。要不要交税，规定还没有说清楚，办之前请先问一问税务局。",
        "You may move 120,000 yuan from the company pension to a pension product for life. The rules do not say clearly whether tax is due, so please ask the tax office first.",
    ),
    "move.refused_with_way": (
        "按规定，企业年金里的钱现在不能转到您自己的银行卡。最接近的办法是先留在账户里，等到可以领的时候再领。",
        "By law, money cannot go from the company pension to your own bank card now. The nearest thing you can do is to leave it in the account until you may draw it.",
    ),
    "move.refused_with_transfer": (
        "按规定，企业年金里的钱现在不能转到您自己的银行卡。最接近的办法是转到企业年金保留账户。",
        "By law, money cannot go from the company pension to your own bank card now. The nearest thing you can do is to move it to the kept company pension.",
    ),
    "move.refused": (
        "按规定，企业年金里的钱现在不能转到您自己的银行卡。这笔钱只好留在原来的账户里。",
        "By law, money cannot go from the company pension to your own bank card now. It has to stay where it is.",
    ),
    "cases.too_few": (
        "情况和您相近的人太少，为了保护他们的隐私，我们不显示数字。您可以把条件放宽一些再看。",
        "There are too few people like you, and to protect their privacy we show no figures. Try again with a wider group.",
    ),
    "cases.untold": (
        "我们看了至少20位情况和您相近的人。说到养老账户里的钱，每100位里有50位在5万元到18万元之间。",
        "We looked at no fewer than 20 people like you. As for pension savings, 50 out of 100 of them have between 50,000 yuan and 180,000 yuan.",
    ),
    "cases.below": (
        "说到养老账户里的钱，至少20位情况和您相近的人里，每100位有50位在5万元到18万元之间。您是31,415元，比他们少一些。",
        "As for pension savings, of no fewer than 20 people like you, 50 out of 100 have between 50,000 yuan and 180,000 yuan. You have 31,415 yuan, which is less than they have.",
    ),
    "cases.within": (
        "说到养老账户里的钱，至少20位情况和您相近的人里，每100位有50位在5万元到18万元之间。您是5万元，和他们差不多。",
        "As for pension savings, of no fewer than 20 people like you, 50 out of 100 have between 50,000 yuan and 180,000 yuan. You have 50,000 yuan, which is about the same.",
    ),
    "cases.above": (
        "说到养老账户里的钱，至少20位情况和您相近的人里，每100位有50位在5万元到18万元之间。您是31.4万元，比他们多一些。",
        "As for pension savings, of no fewer than 20 people like you, 50 out of 100 have between 50,000 yuan and 180,000 yuan. You have 314,000 yuan, which is more than they have.",
    ),
}
