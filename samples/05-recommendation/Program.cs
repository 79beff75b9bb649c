// Three companies (profile, taste, behaviour) help a streaming service to recommend, and none shows another its table. Run from the repository's root:
//   dotnet run --project samples/05-recommendation -c Release -- [--source DIR] [--report FILE] [--seeds 1]
using System.Globalization;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Privacy;
using FedLearn.Samples.Recommendation;

CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
if (Settings.Parse(args) is not { } settings)
{
    Console.Error.WriteLine(Settings.Usage);
    return 2;
}

try
{
    RatingSet ratings = settings.Source is { } source
        ? MovieLens100K.Read(source)
        : SyntheticTastes.Generate(new SyntheticTastesOptions { Users = settings.Users, Items = settings.Items, RatingsPerUser = Settings.RatingsPerUser });
    var service = new StreamingService(ratings, settings);
    var report = new Report(ratings, settings);
    report.Begin();

    // 1. Warm: the last positive of each user, after training on the earlier ones.
    var rows = new List<Row>();
    foreach (string view in StreamingService.Views)
        rows.Add(await service.RowAsync($"{view} alone", RatingSplit.Last, [view], settings.Plain));
    rows.Add(await service.RowAsync("all views, sum", RatingSplit.Last, StreamingService.Views, settings.Plain));
    rows.Add(await service.RowAsync("all views, late", RatingSplit.Last, StreamingService.Views, settings.Plain with { Model = settings.Plain.Model with { Fusion = DssmFusion.Late } }));
    report.Add("1. Views", "views", [.. rows, .. service.Baselines(RatingSplit.Last)]);

    // 2. Cold: what training never saw has no number of its own in the model, only features.
    foreach ((string title, string key, RatingSplit split) in new[] { ("2a. Users that training never saw, with their history", "coldUsers", RatingSplit.ColdUsers), ("2b. Items that training never saw", "coldItems", RatingSplit.ColdItems) })
        report.Add(title, key, [await service.RowAsync("all views, sum", split, StreamingService.Views, settings.Plain), .. service.Baselines(split)]);

    // 3. Noise. Smaller towers, more negatives and few epochs: every epoch is paid for.
    var gradients = new DssmPrivacyOptions { Noise = DssmNoise.Gradients, Budget = new PrivacyBudget(10, 1e-5) };
    DssmPrivacyOptions oneShot = gradients with { Noise = DssmNoise.Embeddings, Claim = EmbeddingClaim.OneShot, Unit = EmbeddingUnit.User, MaxSamplesPerUser = 20, HistoryEvents = 19 };
    Setup setup = settings.Noised;
    rows =
    [
        await service.RowAsync("no noise", RatingSplit.Last, StreamingService.Views, setup),
        await service.RowAsync("gradients, own-messages, 10", RatingSplit.Last, StreamingService.Views, setup, gradients),
        await service.RowAsync("gradients, own-messages, 2", RatingSplit.Last, StreamingService.Views, setup, gradients with { Budget = new PrivacyBudget(2, 1e-5) }),
        await service.RowAsync("gradients, full, 10", RatingSplit.Last, StreamingService.Views, setup, gradients with { Claim = EmbeddingClaim.Full }),
        // A profile is in all samples of a user, so that unit sample means nothing for it: the job with this unit goes without the company.
        await service.RowAsync("both, own-messages, 10, no profile", RatingSplit.Last, ["taste", "behaviour", StreamingService.History], setup, gradients with { Noise = DssmNoise.Both }),
        await service.RowAsync("vectors, one-shot, 10", RatingSplit.Last, StreamingService.Views, setup, oneShot),
    ];
    report.Add("3. Differential privacy, delta 1e-5", "privacy", [.. rows, .. service.Baselines(RatingSplit.Last)]);
    report.AddPrivacy(rows);
    report.End();
    return 0;
}
catch (FedLearnException e)
{
    Console.Error.WriteLine(e.Message);
    return e.ExitCode;
}
